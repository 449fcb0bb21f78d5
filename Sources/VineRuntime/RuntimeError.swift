// What can go wrong between this process and the world.

internal import Glibc

/// A call to the world that failed: what was tried, on what, and why.
package struct RuntimeError: Error, Equatable, CustomStringConvertible {
  /// The operation, as a person would name it ("write the journal").
  package let operation: String
  /// The path or rank it concerned; may be empty.
  package let subject: String
  /// errno, or 0 when `detail` says it all.
  package let errno: Int32
  package let detail: String
  /// What the program should end with on account of it; nil where nothing special was agreed.
  package let exitStatus: Int32?

  package init(
    _ operation: String, _ subject: String = "", errno: Int32 = 0, detail: String = "",
    exitStatus: Int32? = nil
  ) {
    self.operation = operation
    self.subject = subject
    self.errno = errno
    self.detail = detail
    self.exitStatus = exitStatus
  }

  package var description: String {
    var text = "cannot \(operation)"
    if !subject.isEmpty { text += " \(subject)" }
    if errno != 0 { text += ": \(errorText(errno))" }
    if !detail.isEmpty { text += ": \(detail)" }
    return text
  }
}

/// strerror(3) of `code`.
package func errorText(_ code: Int32) -> String { String(cString: strerror(code)) }
