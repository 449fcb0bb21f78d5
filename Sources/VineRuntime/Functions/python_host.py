# The host process of a Python library: loads the user's module, runs its context function once, and
# then serves calls that come over one descriptor. Python 3.8 and later, standard library only. The
# program comes over the descriptor, too (HostFrames.swift has the frames), so nothing is installed.
#
# direct: calls run one after another in this interpreter.
# fork: each call runs in a child of its own, which shares the context's memory copy-on-write.
import gc
import io
import json
import os
import select
import struct
import sys
import time
import traceback
from base64 import b64decode, b64encode
from collections import deque

PROTOCOL = 1
ORDER, CALL, MAP, CANCEL, STOP = 1, 2, 3, 4, 5
HELLO, READY, SETUP_FAILED, FINISHED, FAILED, RETURNED = 65, 66, 67, 68, 69, 70
ITEMS_RANGE, ITEMS_LIST = 0, 1

FRAME_MAX = 1 << 31
# Results gather for this long while others are computed; a call expected to take longer waits for
# them to be sent.
PATIENCE_NS = 50000
GATHERED_MAX = 1 << 16
# Who has just served a call looks for the next one for this long before it sleeps.
LOOKING_NS = int(os.environ.get("VINE_LOOKING", "0"))
THIS_FILE = "<vine-mpi host>"

clock = time.perf_counter_ns
scan = json.JSONDecoder().scan_once


class Problem(Exception):
    """An error that is not the user's traceback: its text says all."""


# ---- Values ----------------------------------------------------------------------------------------


def revive(value):
    if len(value) == 1 and "$bytes" in value:
        return b64decode(value["$bytes"])
    return value


scan_bytes = json.JSONDecoder(object_hook=revive).scan_once


def decode(text):
    """The value of a JSON text (bytes); {"$bytes": BASE64} in it becomes bytes."""
    chosen = scan_bytes if b'"$bytes"' in text else scan
    return chosen(text.decode(), 0)[0]


def encode_other(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bytes": b64encode(value).decode("ascii")}
    kind = type(value)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = kind.__module__ + "." + name
    hint = ""
    if hasattr(value, "tolist"):
        hint = " (its tolist() gives one)"
    elif isinstance(value, (set, frozenset)):
        hint = " (a list is one)"
    raise Problem("the result holds a %s, which is no JSON value%s" % (name, hint))


def make_encoder():
    encoder = json.JSONEncoder(
        check_circular=False, allow_nan=False, default=encode_other, separators=(",", ":")
    )
    make = json.encoder.c_make_encoder
    if make is None:
        return lambda value: encoder.encode(value).encode("ascii")
    # JSONEncoder.encode makes one of these each time, which costs more than most results.
    quote = json.encoder.encode_basestring_ascii
    fast = make(None, encode_other, quote, None, ":", ",", False, False, False)
    join = "".join
    return lambda value: join(fast(value, 0)).encode("ascii")


encode_any = make_encoder()


def encode(value):
    """A result as JSON text."""
    if value is None:
        return b"null"
    try:
        return encode_any(value)
    except ValueError as error:
        if "JSON compliant" in str(error):
            raise Problem(
                "the result holds a NaN or an infinity, which JSON does not have: return None or a text"
            )
        raise Problem("the result is no JSON value: %s" % error)
    except TypeError as error:
        raise Problem("the result is no JSON value: %s" % error)
    except RecursionError:
        raise Problem("the result is nested too deeply, or holds itself")


# ---- Errors ----------------------------------------------------------------------------------------


def describe(error):
    """Error and traceback, both UTF-8; frames of this file are left out."""
    if isinstance(error, Problem):
        return utf8(str(error)), b""
    if isinstance(error, SystemExit):
        text = "the function called sys.exit(%s)" % ("" if error.code is None else repr(error.code))
    else:
        try:
            text = "".join(traceback.format_exception_only(type(error), error)).strip()
        except BaseException:
            text = type(error).__name__
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename == THIS_FILE:
        place = place.tb_next
    try:
        trace = "".join(traceback.format_exception(type(error), error, place))
    except BaseException:
        trace = text + "\n"
    return utf8(text), utf8(trace)


def utf8(text):
    return text.encode("utf-8", "backslashreplace")


HEAD_FINISHED = struct.Struct("<IBQQ")
HEAD_FAILED = struct.Struct("<IBQQI")


def finished(number, duration, result):
    if len(result) > FRAME_MAX - 64:
        return failed(number, duration, Problem("the result has %d bytes, more than 2 GiB" % len(result)))
    return HEAD_FINISHED.pack(17 + len(result), FINISHED, number, duration) + result


def failed(number, duration, error, prefix=b""):
    text, trace = describe(error)
    text = prefix + text
    return HEAD_FAILED.pack(21 + len(text) + len(trace), FAILED, number, duration, len(text)) + text + trace


# ---- The channel -----------------------------------------------------------------------------------


class Channel:
    """Frames over one descriptor, many at a time."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.rest = b""
        self.is_open = True
        self.poll = select.poll()
        self.poll.register(descriptor, select.POLLIN)

    def has_input(self):
        return bool(self.poll.poll(0))

    def look(self):
        """Looks for input for a while: to be woken takes longer than a short call."""
        if LOOKING_NS == 0:
            return
        until = clock() + LOOKING_NS
        while not self.poll.poll(0) and clock() < until:
            os.sched_yield()

    def write(self, data):
        view = memoryview(data)
        while view:
            try:
                count = os.write(self.descriptor, view)
            except BlockingIOError:
                select.select([], [self.descriptor], [])
                continue
            except (BrokenPipeError, ConnectionResetError):
                os._exit(0)  # nobody is left to serve
            view = view[count:]

    def read_some(self):
        try:
            data = os.read(self.descriptor, 1 << 18)
        except BlockingIOError:
            return b""
        except ConnectionResetError:
            data = b""
        if not data:
            self.is_open = False
        return data

    def receive(self, frames):
        """Waits for input and appends (kind, body) for each whole frame."""
        data = self.read_some()
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        while end - at >= 4:
            size = int.from_bytes(data[at : at + 4], "little")
            after = at + 4 + size
            if after > end:
                if size > 1 << 16:
                    data, at, end = self.read_large(data, at, after - at), 0, after - at
                    if len(data) < end:
                        return
                    continue
                break
            frames.append((data[at + 4], data[at + 5 : after]))
            at = after
        self.rest = data[at:]

    def read_large(self, data, start, size):
        whole = bytearray(size)
        view = memoryview(whole)
        have = len(data) - start
        view[:have] = data[start:]
        while have < size:
            count = os.readv(self.descriptor, [view[have:]])
            if count == 0:
                self.is_open = False
                return b""
            have += count
        view.release()
        return bytes(whole)


# ---- The order -------------------------------------------------------------------------------------


class Order:
    def __init__(self, body):
        fields = []
        at = 0
        while at < len(body):
            size = int.from_bytes(body[at : at + 4], "little")
            fields.append(body[at + 4 : at + 4 + size])
            at += 4 + size
        self.version = int(fields[0])
        names = [os.fsdecode(field) for field in fields]
        self.name, self.source, self.mode = names[1], names[2], names[3]
        self.slots = int(names[4])
        self.environment, self.context = names[5], names[6]
        self.context_arguments = fields[7]
        self.functions = names[8:]


def add_environment(path):
    """Puts the packages of an unpacked environment in front of the interpreter's own."""
    version = "python%d.%d" % sys.version_info[:2]
    found = []
    others = []
    for library in ("lib", "lib64"):
        for name in sorted(list_directory(os.path.join(path, library))):
            packages = os.path.join(path, library, name, "site-packages")
            if name.startswith("python3") and os.path.isdir(packages):
                (found if name == version else others).append(packages)
    if sys.prefix and os.path.realpath(sys.prefix) == os.path.realpath(path):
        return
    if others and not found:
        raise Problem(
            "the environment has packages for %s only, and the interpreter %s is %s: put the "
            "interpreter into the environment (bin/python), or make one for %s"
            % (os.path.basename(os.path.dirname(others[0])), sys.executable, version, version)
        )
    for place, name in enumerate(sys.path):
        if name.endswith("-packages"):
            break
    else:
        place = len(sys.path)
    before = list(sys.path)
    for packages in found or [path]:
        import site

        site.addsitedir(packages)
    added = [name for name in sys.path if name not in before]
    sys.path[:] = before[:place] + added + before[place:]


def list_directory(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def load(order):
    """The functions, with the module loaded and its context set up."""
    if order.version != PROTOCOL:
        raise Problem("the host speaks protocol %d, the rank %d" % (PROTOCOL, order.version))
    if order.environment:
        add_environment(order.environment)
    path = os.path.abspath(order.source)
    sys.path[0] = os.path.dirname(path)
    name = os.path.splitext(os.path.basename(path))[0]
    sys.argv = [path]
    import importlib.util

    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or not os.path.exists(path):
        raise Problem("there is no Python module %s" % order.source)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    functions = [function_named(module, one) for one in order.functions]
    if order.context:
        function = function_named(module, order.context)
        arguments = decode(order.context_arguments or b"[]")
        context = function(*arguments)
        # What it returns as a dict are further globals of the module.
        if isinstance(context, dict):
            for key, value in context.items():
                if isinstance(key, str):
                    module.__dict__[key] = value
    return functions


def function_named(module, name):
    function = getattr(module, name, None)
    if function is None:
        raise Problem("the module %s has no function %s" % (module.__name__, name))
    if not callable(function):
        raise Problem("%s of the module %s is no function" % (name, module.__name__))
    return function


# ---- Calls -----------------------------------------------------------------------------------------

CALL_HEAD = struct.Struct("<QIH")
MAP_HEAD = struct.Struct("<QIIB")
RANGE = struct.Struct("<qqQ")


def parse_call(body):
    """(number, function, arguments, directory)"""
    number, function, size = CALL_HEAD.unpack_from(body)
    if size:
        return number, function, body[14 + size :], os.fsdecode(body[14 : 14 + size])
    return number, function, body[14:], None


def check_function(functions, function):
    if function >= len(functions):
        raise Problem("the library has no function number %d" % function)
    return functions[function]


def run_call(functions, call):
    """Runs a call and returns the frame that reports it, and how long it took."""
    number, function, arguments, directory = call
    begin = clock()
    try:
        value = decode(arguments)
        chosen = check_function(functions, function)
        if directory is not None:
            os.chdir(directory)
        begin = clock()
        result = chosen(*value["args"], **value["kwargs"])
        duration = clock() - begin
        return finished(number, duration, encode(result)), duration
    except BaseException as error:
        duration = clock() - begin
        return failed(number, duration, error), duration


def is_hole(value):
    return isinstance(value, dict) and len(value) == 1 and value.get("$item") is True


def has_hole(value):
    if isinstance(value, dict):
        return is_hole(value) or any(has_hole(one) for one in value.values())
    return isinstance(value, list) and any(has_hole(one) for one in value)


def fill(value, item):
    """A copy of `value` with the item in its holes."""
    if isinstance(value, dict):
        return item if is_hole(value) else {key: fill(one, item) for key, one in value.items()}
    return [fill(one, item) for one in value] if isinstance(value, list) else value


def items_of(kind, data):
    if kind == ITEMS_RANGE:
        first, step, count = RANGE.unpack(data)
        return (first + step * index for index in range(count))
    return decode(data)


def run_map(functions, body):
    """Runs one call for each item; a failure names the item's index."""
    number, function, size, kind = MAP_HEAD.unpack_from(body)
    begin = clock()
    results = []
    add = results.append
    try:
        template = decode(body[17 : 17 + size])
        chosen = check_function(functions, function)
        arguments, named = template["args"], template["kwargs"]
        items = items_of(kind, body[17 + size :])
    except BaseException as error:
        return failed(number, clock() - begin, error), 0
    begin = clock()
    try:
        if len(arguments) == 1 and is_hole(arguments[0]) and not named:
            for item in items:
                add(chosen(item))
        else:
            for item in items:
                add(chosen(*fill(arguments, item), **fill(named, item)))
    except BaseException as error:
        duration = clock() - begin
        return failed(number, duration, error, b"item %d: " % len(results)), duration
    duration = clock() - begin
    try:
        return finished(number, duration, encode(results)), duration
    except Problem as whole:
        for index, result in enumerate(results):
            try:
                encode(result)
            except Problem as error:
                return failed(number, duration, error, b"item %d: " % index), duration
        return failed(number, duration, whole), duration


def run_one(functions, kind, body):
    if kind == MAP:
        return run_map(functions, body)
    return run_call(functions, parse_call(body))


class Queue:
    """Calls that have not begun; the rank adds to them and takes them back."""

    def take_input(self):
        """Reads what there is; False when the rank wants no more."""
        frames = []
        self.channel.receive(frames)
        for frame in frames:
            if frame[0] == CANCEL:
                self.cancel(int.from_bytes(frame[1], "little"))
            elif frame[0] == STOP:
                return False
            else:
                self.queue.append(frame)
        return self.channel.is_open

    def take_back(self, number):
        """The report that a call had not begun, or None."""
        wanted = number.to_bytes(8, "little")
        for frame in self.queue:
            if frame[1][:8] == wanted:
                self.queue.remove(frame)
                return struct.pack("<IBQ", 9, RETURNED, number)
        return None


# ---- direct ----------------------------------------------------------------------------------------


class Direct(Queue):
    def __init__(self, channel, functions):
        self.channel = channel
        self.functions = functions
        self.queue = deque()
        self.home = os.getcwd()
        self.gathered = []
        self.gathered_count = 0
        self.since = 0
        # How long calls of a function took at most, forgotten slowly.
        self.expected = {}

    def send(self):
        if self.gathered:
            self.channel.write(b"".join(self.gathered))
            self.gathered = []
            self.gathered_count = 0

    def cancel(self, number):
        report = self.take_back(number)
        if report:
            self.gathered.append(report)

    def serve(self):
        queue = self.queue
        functions = self.functions
        expected = self.expected
        looked = clock()
        while True:
            if not queue:
                self.send()
                self.channel.look()
                if not self.take_input():
                    return
                looked = clock()
                continue
            kind, body = queue.popleft()
            function = body[8:12]
            if self.gathered and expected.get(function, 0) > PATIENCE_NS:
                self.send()
            if kind == CALL:
                call = parse_call(body)
                report, duration = run_call(functions, call)
                if call[3] is not None:
                    os.chdir(self.home)
            else:
                report, duration = run_map(functions, body)
            if not self.gathered:
                self.since = clock()
            self.gathered.append(report)
            self.gathered_count += len(report)
            before = expected.get(function, 0)
            expected[function] = duration if duration > before else before - (before >> 4)
            now = clock()
            if self.gathered_count > GATHERED_MAX or now - self.since > PATIENCE_NS:
                self.send()
            if now - looked > 200000:
                looked = now
                if self.channel.has_input() and not self.take_input():
                    return


# ---- fork ------------------------------------------------------------------------------------------


def refuse_threads():
    """A child has the thread that forked alone: locks that others hold stay locked in it for ever."""
    import threading

    advice = (
        "start them in the functions instead of the module or its context, or declare "
        '"exec_mode": "direct"'
    )
    names = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
    if names:
        raise Problem(
            "the context started %d threads (%s), and calls in mode fork run in children that would "
            "not have them: %s" % (len(names), ", ".join(names[:5]), advice)
        )
    count = len(list_directory("/proc/self/task"))
    if count > 1:
        raise Problem(
            "the context started %d threads outside Python, and calls in mode fork run in children "
            "that would not have them: %s. If they are those of a numerical library, set "
            "OPENBLAS_NUM_THREADS, MKL_NUM_THREADS or OMP_NUM_THREADS to 1 in the library's env"
            % (count - 1, advice)
        )
    for name in list_directory("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if target.startswith("/dev/nvidia"):
            raise Problem(
                "the context opened a GPU (%s), which a forked child cannot use: open it in the "
                'functions, or declare "exec_mode": "direct"' % target
            )


class Child:
    __slots__ = ("process", "number", "begin", "data", "need", "status")

    def __init__(self, process, number, begin):
        self.process = process
        self.number = number
        self.begin = begin
        self.data = b""
        self.need = 0
        self.status = None

    def wait(self, flags=0):
        """Whether it has ended; its status is kept."""
        if self.status is None:
            try:
                ended, status = os.waitpid(self.process, flags)
            except ChildProcessError:  # the user's code waits for any child
                ended, status = self.process, 0
            if ended:
                self.status = status
        return self.status is not None


class Fork(Queue):
    def __init__(self, channel, functions, slots):
        refuse_threads()
        self.channel = channel
        self.functions = functions
        self.slots = max(slots, 1)
        self.queue = deque()
        # By the read end of a child's pipe.
        self.children = {}
        # Reported, and about to end.
        self.ending = []
        self.poll = select.poll()
        self.poll.register(channel.descriptor, select.POLLIN)
        # Collections would write into the pages that parent and children share.
        gc.collect()
        gc.freeze()

    def serve(self):
        while True:
            while self.queue and len(self.children) < self.slots:
                self.start(*self.queue.popleft())
            if self.ending:
                self.reap()
            # A grandchild may hold the pipe of a child that is gone: then its end does not wake us.
            is_quiet = not self.children and not self.ending
            ready = self.poll.poll(None if is_quiet else 500)
            for descriptor, _ in ready:
                if descriptor != self.channel.descriptor:
                    self.read(descriptor)
                elif not self.take_input():
                    return self.end()
            if not ready:
                self.look_for_dead()

    def start(self, kind, body):
        number = int.from_bytes(body[:8], "little")
        begin = clock()
        try:
            read_end, write_end = os.pipe()
            process = os.fork()
        except OSError as error:
            self.channel.write(failed(number, 0, Problem("cannot fork for the call: %s" % error)))
            return
        if process == 0:
            self.run_in_child(write_end, kind, body)
        os.close(write_end)
        self.children[read_end] = Child(process, number, begin)
        self.poll.register(read_end, select.POLLIN)

    def run_in_child(self, write_end, kind, body):
        try:
            os.setpgid(0, 0)
            os.close(self.channel.descriptor)
            view = memoryview(run_one(self.functions, kind, body)[0])
            flush_output()
            while view:
                view = view[os.write(write_end, view) :]
        finally:
            os._exit(0)

    def read(self, descriptor):
        child = self.children[descriptor]
        try:
            data = os.read(descriptor, 1 << 18)
        except InterruptedError:
            return
        if not data:
            return self.lose(descriptor)
        if child.need == 0:
            child.data += data
            if len(child.data) >= 4:
                child.need = 4 + int.from_bytes(child.data[:4], "little")
                if child.need > len(child.data):
                    child.data = bytearray(child.data)
        else:
            child.data += data
        if len(child.data) >= child.need > 0:
            self.channel.write(child.data)
            self.forget(descriptor)
            self.ending.append(child)

    def forget(self, descriptor):
        self.poll.unregister(descriptor)
        os.close(descriptor)
        return self.children.pop(descriptor)

    def lose(self, descriptor):
        """The child ended, or closed its pipe, without a report."""
        child = self.forget(descriptor)
        for _ in range(200):
            if child.wait(os.WNOHANG):
                break
            time.sleep(0.001)
        else:
            self.kill(child.process)
            child.wait()
        self.report_end(child)

    def report_end(self, child):
        problem = Problem(end_text(child.status))
        self.channel.write(failed(child.number, clock() - child.begin, problem))

    def look_for_dead(self):
        for descriptor, child in list(self.children.items()):
            if child.wait(os.WNOHANG) and not select.select([descriptor], [], [], 0)[0]:
                self.forget(descriptor)
                self.report_end(child)

    def reap(self):
        left = []
        for child in self.ending:
            if not child.wait(0 if len(left) > self.slots + 4 else os.WNOHANG):
                left.append(child)
        self.ending = left

    def kill(self, process):
        for target in (-process, process):
            try:
                os.kill(target, 9)
            except OSError:
                pass

    def cancel(self, number):
        report = self.take_back(number)
        if report:
            self.channel.write(report)
            return
        for descriptor, child in self.children.items():
            if child.number == number:
                self.forget(descriptor)
                self.kill(child.process)
                child.wait()
                problem = Problem("the call was cancelled")
                self.channel.write(failed(number, clock() - child.begin, problem))
                return

    def end(self):
        for child in self.children.values():
            self.kill(child.process)


def end_text(status):
    if os.WIFSIGNALED(status):
        import signal

        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "?"
        return "the process of the call was killed by signal %d (%s)" % (number, name)
    status = os.WEXITSTATUS(status)
    return "the process of the call ended with status %d before the function returned" % status


# ---- Beginning -------------------------------------------------------------------------------------


def take_channel():
    """The channel comes as standard input, which is not the library's."""
    import fcntl

    descriptor = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 100)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    return Channel(descriptor)


def flush_output():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def main():
    channel = take_channel()
    channel.write(struct.pack("<IBI", 5, HELLO, PROTOCOL))
    frames = []
    while not frames and channel.is_open:
        channel.receive(frames)
    if not frames:
        return
    begin = clock()
    try:
        order = Order(frames[0][1])
        functions = load(order)
        if order.mode == "direct":
            host = Direct(channel, functions)
        else:
            host = Fork(channel, functions, order.slots)
    except BaseException as error:
        flush_output()
        text, trace = describe(error)
        body = len(text).to_bytes(4, "little") + text + trace
        channel.write(struct.pack("<IB", 1 + len(body), SETUP_FAILED) + body)
        os._exit(1)
    channel.write(struct.pack("<IBQ", 9, READY, clock() - begin))
    for frame in frames[1:]:
        host.queue.append(frame)
    host.serve()
    import atexit

    atexit._run_exitfuncs()
    flush_output()
    os._exit(0)
