// Downloads by curl(1): its command line, and what its exit status means for people.

internal import VineCore

enum Download {
  /// Where curl leaves the headers of the answers, in the sandbox.
  static let headersName = "headers"

  /// The command that writes what lies at `url` to `output`. It follows redirects, but none to a file
  /// of this machine; gives up on a server that is silent for a minute; and tries again, three times,
  /// what may pass.
  static func arguments(
    url: String, output: String, validators: Validators?
  ) -> [String] {
    var conditions: [String] = []
    if let etag = validators?.etag { conditions += ["--header", "If-None-Match: \(etag)"] }
    if let date = validators?.lastModified {
      conditions += ["--header", "If-Modified-Since: \(date)"]
    }
    return conditions.isEmpty
      ? plain(url, output) : plain(url, output) + conditions
  }

  private static func plain(_ url: String, _ output: String) -> [String] {
    [
      "curl", "--fail", "--location", "--max-redirs", "20", "--silent", "--show-error",
      "--globoff", "--proto", "=http,https,ftp,file", "--proto-redir", "=http,https,ftp",
      "--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60",
      "--retry", "3", "--retry-delay", "1", "--retry-max-time", "600",
      "--dump-header", headersName, "--output", output, "--url", url,
    ]
  }

  /// What a server says of a content, so that it can be asked later whether it is still the same.
  struct Validators: Equatable, Sendable {
    var etag: String?
    var lastModified: String?
    var isEmpty: Bool { etag == nil && lastModified == nil }
  }

  /// The status and the validators of the last answer in curl's dump of headers.
  static func parse(headers: [UInt8]) -> (status: Int, validators: Validators) {
    var status = 0
    var validators = Validators()
    for line in String(decoding: headers, as: UTF8.self).split(whereSeparator: \.isNewline) {
      if line.hasPrefix("HTTP/") {
        status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        validators = Validators()
      }
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = String(line[line.index(after: colon)...].drop { $0 == " " })
      if value.isEmpty || value.utf8.count > 1000 { continue }
      switch line[..<colon].lowercased() {
      case "etag": validators.etag = value
      case "last-modified": validators.lastModified = value
      default: break
      }
    }
    return (status, validators)
  }

  /// What went wrong, by curl's exit status (curl(1), "Exit codes"), and what to do.
  static func problem(exitStatus: Int32) -> String {
    switch exitStatus {
    case 1: "this curl does not know that kind of URL"
    case 3: "the URL is not well formed"
    case 5: "the name of the proxy could not be resolved; look at http_proxy and https_proxy"
    case 6: "the name of the server could not be resolved\(noRoute)"
    case 7: "no connection to the server\(noRoute)"
    case 9, 67: "the server refuses the access"
    case 18, 56, 92: "the server ended the transfer before all was there"
    case 22: "the server answered with an error"
    case 23: "the file could not be written: is the node's disk full?"
    case 28: "the server did not answer in time\(noRoute)"
    case 35: "no encrypted connection to the server could be made"
    case 37: "the file could not be read on this node"
    case 47: "more than 20 redirects"
    case 52: "the server sent nothing"
    case 60, 77: "the certificate of the server could not be verified on this node"
    case 78: "there is no such file on the server"
    default: "curl ended with status \(exitStatus)"
    }
  }

  private static let noRoute =
    ". Compute nodes often have no route to the outside: fetch the file before the run and give "
    + "its `path`, or set http_proxy and https_proxy if the site has a proxy"
}
