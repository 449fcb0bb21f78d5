import Testing
import VineCore

struct ClosingTests {
  private func second(_ number: Int64) -> Instant { Instant(nanoseconds: number * 1_000_000_000) }

  @Test func aJobsEndIsApproachedInSteps() throws {
    var closing = Closing(startedAt: second(1), jobEndsAt: second(1_001))
    #expect(closing.tasksEndBy == second(976))
    #expect(closing.nextStep == second(941))
    #expect(closing.takeSteps(at: second(940)) == [])
    #expect(closing.takeSteps(at: second(941)) == [.drainRequested])
    #expect(closing.isByTime)
    #expect(closing.takeSteps(at: second(975)) == [])
    #expect(closing.takeSteps(at: second(976)) == [.killRequested])
    #expect(closing.nextStep == second(991))
    #expect(closing.takeSteps(at: second(2_000)) == [.closeRequested])
    #expect(closing.nextStep == nil && closing.takeSteps(at: second(3_000)) == [])
  }

  @Test func aLateLookTakesAllStepsInOrder() {
    var closing = Closing(startedAt: .zero, jobEndsAt: second(100))
    let steps = closing.takeSteps(at: second(99))
    #expect(steps == [.drainRequested, .killRequested, .closeRequested])
  }

  @Test func aShortJobKeepsAQuarterForItsEnd() {
    #expect(Closing(startedAt: .zero, jobEndsAt: second(40)).nextStep == second(30))
  }

  @Test func aSignalSaysThatTheEndIsNear() {
    var closing = Closing(startedAt: .zero, jobEndsAt: nil)
    #expect(closing.nextStep == nil && closing.tasksEndBy == nil)
    #expect(closing.begin(at: second(5), isByTime: true) == .drainRequested)
    #expect(closing.begin(at: second(6), isByTime: true) == nil)
    #expect(closing.takeSteps(at: second(33)) == [.killRequested, .closeRequested])
  }

  /// Who stops a run by hand has all the time that the job has, and no more.
  @Test func aRunThatWasStoppedEndsBeforeItsJob() {
    var free = Closing(startedAt: .zero, jobEndsAt: nil)
    #expect(free.begin(at: second(5), isByTime: false) == .drainRequested)
    #expect(free.nextStep == nil)
    #expect(free.begin(at: second(9), isByTime: true) == nil)
    #expect(free.nextStep != nil && free.isByTime)
    var bound = Closing(startedAt: .zero, jobEndsAt: second(1_000))
    #expect(bound.begin(at: second(5), isByTime: false) == .drainRequested)
    #expect(!bound.isByTime)
    #expect(bound.takeSteps(at: second(990)) == [.killRequested, .closeRequested])
  }
}
