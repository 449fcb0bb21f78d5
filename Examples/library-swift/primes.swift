// Counting primes with a sieve that is made once.

/// The primes up to a limit: what every call needs.
private final class Sieve {
  let primes: [Int]

  init(limit: Int) {
    var isComposite = [Bool](repeating: false, count: limit + 1)
    var primes: [Int] = []
    for number in stride(from: 2, through: limit, by: 1) where !isComposite[number] {
      primes.append(number)
      for multiple in stride(from: number * number, through: limit, by: number) {
        isComposite[multiple] = true
      }
    }
    self.primes = primes
  }
}

/// The whole numbers of a JSON array of numbers.
private func numbers(_ call: UnsafeMutablePointer<vine_call>) -> [Int] {
  String(cString: call.pointee.arguments).split { "[], ".contains($0) }.compactMap { Int($0) }
}

private func put(_ text: String, _ call: UnsafeMutablePointer<vine_call>) -> Int32 {
  var text = text
  return text.withUTF8 { vine_put(call, $0.baseAddress, $0.count) == 0 ? 0 : 1 }
}

private func fail(_ text: String, _ call: UnsafeMutablePointer<vine_call>) -> Int32 {
  let bytes = text.utf8.prefix(call.pointee.error_room - 1)
  for (index, byte) in bytes.enumerated() { call.pointee.error[index] = CChar(bitPattern: byte) }
  call.pointee.error[bytes.count] = 0
  return 1
}

@_cdecl("make_sieve")
public func makeSieve(_ call: UnsafeMutablePointer<vine_call>) -> Int32 {
  guard let limit = numbers(call).first, limit >= 2 else { return fail("a limit, please", call) }
  call.pointee.context = Unmanaged.passRetained(Sieve(limit: limit)).toOpaque()
  return 0
}

/// count_primes(first, last)
@_cdecl("count_primes")
public func countPrimes(_ call: UnsafeMutablePointer<vine_call>) -> Int32 {
  let range = numbers(call)
  guard range.count == 2, let context = call.pointee.context else {
    return fail("first and last, please", call)
  }
  let sieve = Unmanaged<Sieve>.fromOpaque(context).takeUnretainedValue()
  return put("\(sieve.primes.count { $0 >= range[0] && $0 <= range[1] })", call)
}
