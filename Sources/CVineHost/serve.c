// One library: loaded, set up, called frame by frame.
#define _GNU_SOURCE
#include "cvinehost.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { protocol_version = 1 };
enum { frame_taken_back, frame_order, frame_call, frame_map, frame_cancel, frame_stop, frame_gang };
enum { frame_hello = 65, frame_ready, frame_setup_failed, frame_finished, frame_failed, frame_returned };

// Results gather for this long while others are computed; a call expected to take longer waits for
// them to be sent.
static const int64_t patience = 50000;
static const size_t gathered_max = 1 << 16;
// Between two looks for calls that were taken back.
static const int64_t look_interval = 200000;
static const size_t waiting_max = 4 << 20;
static const size_t frame_max = 0x7FFFFFFF;

struct function {
  const char *name;
  void *symbol;
  void *context;
  void (*teardown)(void *);
  // How long calls took at most, forgotten slowly.
  int64_t expected;
};

struct server {
  const struct vine_port *port;
  struct vine_bytes in, out, result, text;
  size_t at;        // the next frame in `in`
  size_t scanned;   // up to here it was looked for frames that take calls back
  int64_t out_since;
  int home;         // descriptor of the working directory
  char *order;      // its frame: the names are there
  struct function *functions;
  size_t function_count;
  void *context;
  void (*context_teardown)(void *);
  vine_call call;
  char error[4096];
};

int64_t vine_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static uint32_t get32(const char *at) {
  const unsigned char *b = (const unsigned char *)at;
  return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static uint64_t get64(const char *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }
static void put32(char *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (char)(value >> (8 * i));
}
static void put64(char *at, uint64_t value) {
  put32(at, (uint32_t)value);
  put32(at + 4, (uint32_t)(value >> 32));
}

// ---- Reports ----

static int flush(struct server *server) {
  if (server->out.count == 0) return 0;
  int error = server->port->send(server->port->owner, server->out.at, server->out.count);
  server->out.count = 0;
  if (server->out.room > 4 << 20) {
    free(server->out.at);
    server->out = (struct vine_bytes){0};
  }
  return error;
}

// Begins a report of `count` bytes behind its kind; NULL without memory.
static char *report(struct server *server, int kind, size_t count) {
  if (vine_bytes_reserve(&server->out, 5 + count) != 0) return NULL;
  char *at = server->out.at + server->out.count;
  put32(at, (uint32_t)(1 + count));
  at[4] = (char)kind;
  server->out.count += 5 + count;
  return at + 5;
}

static int report_failure(struct server *server, uint64_t number, int64_t duration, const char *error) {
  size_t count = strlen(error);
  char *at = report(server, frame_failed, 20 + count);
  if (!at) return -1;
  put64(at, number);
  put64(at + 8, (uint64_t)duration);
  put32(at + 16, (uint32_t)count);
  memcpy(at + 20, error, count);
  return 0;
}

static int report_result(struct server *server, uint64_t number, int64_t duration, const char *result, size_t count) {
  if (count > frame_max - 64)
    return report_failure(server, number, duration, "the result has more than 2 GiB: write it into a file");
  char *at = report(server, frame_finished, 16 + count);
  if (!at) return -1;
  put64(at, number);
  put64(at + 8, (uint64_t)duration);
  memcpy(at + 16, result, count);
  return 0;
}

// ---- Calls ----

static char *reserve(struct vine_call *call, size_t room) {
  struct server *server = call->host;
  server->result.count = call->result_count;
  if (room > server->result.room && vine_bytes_reserve(&server->result, room - call->result_count) != 0) return NULL;
  call->result = server->result.at;
  call->result_room = server->result.room;
  return call->result;
}

static void prepare(struct server *server, const char *arguments, size_t count, const char *directory) {
  vine_call *call = &server->call;
  call->version = VINE_FUNCTION_VERSION;
  call->is_bytes = 0;
  call->arguments = arguments;
  call->argument_count = count;
  call->result = server->result.at;
  call->result_count = 0;
  call->result_room = server->result.room;
  call->error = server->error;
  call->error_room = sizeof server->error;
  call->directory = directory;
  call->reserve = reserve;
  call->host = server;
  server->error[0] = 0;
}

// Makes the result {"$bytes": BASE64}.
static int encode_bytes(struct server *server) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t count = server->call.result_count, size = (count + 2) / 3 * 4;
  struct vine_bytes raw = server->result, text = {0};
  if (vine_bytes_reserve(&text, size + 16 > 4096 ? size + 16 : 4096) != 0) return -1;
  const unsigned char *from = (const unsigned char *)server->call.result;
  char *to = text.at + sprintf(text.at, "{\"$bytes\":\"");
  for (size_t i = 0; i < count; i += 3) {
    size_t left = count - i;
    uint32_t three = (uint32_t)from[i] << 16 | (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) | (left > 2 ? from[i + 2] : 0);
    *to++ = digits[three >> 18];
    *to++ = digits[three >> 12 & 63];
    *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
    *to++ = left > 2 ? digits[three & 63] : '=';
  }
  memcpy(to, "\"}", 2);
  free(raw.at);
  server->result = text;
  server->call.result = text.at;
  server->call.result_room = text.room;
  server->call.result_count = (size_t)(to + 2 - text.at);
  return 0;
}

// What the function left: 0 with the result's text in `call`, else `error` says what is wrong.
static int conclude(struct server *server, const struct function *function, int status) {
  vine_call *call = &server->call;
  server->error[sizeof server->error - 1] = 0;
  if (status != 0) {
    if (server->error[0] == 0)
      snprintf(server->error, sizeof server->error, "%s returned %d and left no error text", function->name, status);
    return -1;
  }
  if (call->result != server->result.at || call->result_count > server->result.room) {
    snprintf(server->error, sizeof server->error, "%s wrote its result past its room", function->name);
    return -1;
  }
  if (call->is_bytes) {
    if (encode_bytes(server) == 0) return 0;
    snprintf(server->error, sizeof server->error, "no memory for the result of %s", function->name);
    return -1;
  }
  if (call->result_count == 0) {
    memcpy(call->result, "null", 4);
    call->result_count = 4;
  }
  if (vine_json_is_value(call->result, call->result_count)) return 0;
  snprintf(server->error, sizeof server->error,
           "the result of %s is no JSON value: %.*s%s (set is_bytes for other bytes)", function->name,
           (int)(call->result_count < 80 ? call->result_count : 80), call->result, call->result_count > 80 ? "..." : "");
  return -1;
}

static struct function *function_of(struct server *server, const char *body) {
  uint32_t place = get32(body + 8);
  if (place < server->function_count) return &server->functions[place];
  snprintf(server->error, sizeof server->error, "the library has no function number %u", place);
  return NULL;
}

// Finds the array of arguments and ends it with a NUL, where the frame has a byte to spare. Returns
// that byte, which has to be put back, or -1.
static int take_arguments(struct server *server, char *text, size_t count, size_t *start, size_t *end) {
  size_t named, named_end;
  if (vine_json_find_arguments(text, count, start, end, &named, &named_end) != 0) {
    snprintf(server->error, sizeof server->error, "the arguments of the call are no JSON text of a call");
    return -1;
  }
  if (named_end - named > 2) {
    snprintf(server->error, sizeof server->error, "a native function takes no arguments by name");
    return -1;
  }
  int kept = (unsigned char)text[*end];  // at least the brace that closes the object
  text[*end] = 0;
  return kept;
}

static int64_t run(struct server *server, struct function *function, uint64_t number, char *body, size_t count) {
  uint16_t path = (uint16_t)((unsigned char)body[12] | (unsigned char)body[13] << 8);
  if ((size_t)path + 14 > count) path = 0;
  char directory[PATH_MAX];
  int has_directory = path > 0 && path < sizeof directory;
  if (has_directory) {
    memcpy(directory, body + 14, path);
    directory[path] = 0;
  }
  size_t start, end;
  char *text = body + 14 + path;
  int kept = take_arguments(server, text, count - 14 - path, &start, &end);
  if (kept < 0) return report_failure(server, number, 0, server->error), 0;
  if (has_directory && server->port->owns_process && chdir(directory) != 0) {
    text[end] = (char)kept;
    return report_failure(server, number, 0, "cannot go to the directory of the call"), 0;
  }
  prepare(server, text + start, end - start, has_directory ? directory : NULL);
  server->call.context = function->context;
  int64_t begin = vine_now();
  if (server->port->tell_running) server->port->tell_running(server->port->owner, number, begin);
  int status = ((int (*)(vine_call *))function->symbol)(&server->call);
  int64_t duration = vine_now() - begin;
  if (server->port->tell_running) server->port->tell_running(server->port->owner, number, 0);
  text[end] = (char)kept;
  if (has_directory && server->port->owns_process) (void)!fchdir(server->home);
  if (conclude(server, function, status) == 0)
    report_result(server, number, duration, server->call.result, server->call.result_count);
  else
    report_failure(server, number, duration, server->error);
  return duration;
}

// ---- Maps ----

struct items {
  int is_list;
  const char *text;
  size_t count, at;
  int64_t first, step;
  uint64_t left, index;
  char number[24];
};

// The text of the next item: 1; 0 behind the last; -1.
static int next_item(struct items *items, const char **item, size_t *count) {
  if (items->is_list) {
    size_t start = 0, end = 0;
    int result = vine_json_next_element(items->text, items->count, &items->at, &start, &end);
    *item = items->text + start;
    *count = end - start;
    return result;
  }
  if (items->left == 0) return 0;
  items->left--;
  // Wraps where the sum would not fit, as the rank has seen to it that it does.
  int64_t value = (int64_t)((uint64_t)items->first + (uint64_t)items->step * items->index++);
  *count = (size_t)snprintf(items->number, sizeof items->number, "%lld", (long long)value);
  *item = items->number;
  return 1;
}

static int take_items(struct items *items, const char *body, size_t count, size_t template_end) {
  *items = (struct items){0};
  items->is_list = body[16] == 1;
  items->text = body + template_end;
  items->count = count - template_end;
  if (items->is_list) return 0;
  if (items->count != 24) return -1;
  items->first = (int64_t)get64(items->text);
  items->step = (int64_t)get64(items->text + 8);
  items->left = get64(items->text + 16);
  return 0;
}

// One call of a map; 0, or -1 with the error.
static int run_item(struct server *server, struct function *function, const struct vine_template *template,
                    const char *item, size_t count) {
  if (vine_template_fill(template, item, count, &server->text) != 0 || vine_bytes_add(&server->text, "", 1) != 0) {
    snprintf(server->error, sizeof server->error, "no memory for the arguments");
    return -1;
  }
  prepare(server, server->text.at, server->text.count - 1, NULL);
  server->call.context = function->context;
  return conclude(server, function, ((int (*)(vine_call *))function->symbol)(&server->call));
}

static int64_t run_map(struct server *server, struct function *function, uint64_t number, char *body, size_t count) {
  size_t template_count = get32(body + 12);
  struct items items;
  size_t start, end;
  if (template_count > count - 17 || take_items(&items, body, count, 17 + template_count) != 0)
    return report_failure(server, number, 0, "the map is malformed"), 0;
  char *text = body + 17;
  int kept = take_arguments(server, text, template_count, &start, &end);
  if (kept < 0) return report_failure(server, number, 0, server->error), 0;
  text[end] = (char)kept;
  struct vine_template template;
  if (vine_template_parse(&template, text + start, end - start) != 0)
    return report_failure(server, number, 0, "the arguments of the map are no JSON array"), 0;

  struct vine_bytes results = {0};
  int64_t begin = vine_now();
  if (server->port->tell_running) server->port->tell_running(server->port->owner, number, begin);
  uint64_t index = 0;
  int state = 0, is_stored = vine_bytes_add(&results, "[", 1) == 0, is_failed = 0;
  const char *item;
  size_t item_count;
  while (is_stored && (state = next_item(&items, &item, &item_count)) > 0) {
    is_failed = run_item(server, function, &template, item, item_count) != 0;
    if (is_failed) break;
    if (index++ > 0) is_stored = vine_bytes_add(&results, ",", 1) == 0;
    if (is_stored) is_stored = vine_bytes_add(&results, server->call.result, server->call.result_count) == 0;
  }
  if (is_stored) is_stored = vine_bytes_add(&results, "]", 1) == 0;
  int64_t duration = vine_now() - begin;
  if (server->port->tell_running) server->port->tell_running(server->port->owner, number, 0);
  if (is_failed) {
    char error[sizeof server->error + 32];
    snprintf(error, sizeof error, "item %llu: %s", (unsigned long long)index, server->error);
    report_failure(server, number, duration, error);
  } else if (!is_stored) {
    report_failure(server, number, duration, "no memory for the results of the map");
  } else if (state < 0) {
    report_failure(server, number, duration, "the items of the map are no JSON array");
  } else {
    report_result(server, number, duration, results.at, results.count);
  }
  free(results.at);
  vine_template_free(&template);
  return duration;
}

// ---- Gangs ----

static int64_t run_gang(struct server *server, struct function *function, uint64_t number, char *body, size_t count) {
  size_t rank_count = count >= 20 ? get32(body + 16) : 0;
  if (!server->port->run_gang || rank_count == 0 || rank_count > (count - 20) / 4)
    return report_failure(server, number, 0, "this instance serves no gangs"), 0;
  int *ranks = malloc(rank_count * sizeof *ranks);
  if (!ranks) return report_failure(server, number, 0, "no memory for a gang"), 0;
  for (size_t i = 0; i < rank_count; i++) ranks[i] = (int)get32(body + 20 + i * 4);
  char *text = body + 20 + rank_count * 4;
  size_t start, end;
  int kept = take_arguments(server, text, count - 20 - rank_count * 4, &start, &end);
  int64_t duration = 0;
  if (kept < 0) {
    report_failure(server, number, 0, server->error);
  } else {
    prepare(server, text + start, end - start, NULL);
    server->call.context = function->context;
    int64_t begin = vine_now();
    if (server->port->tell_running) server->port->tell_running(server->port->owner, number, begin);
    int status = server->port->run_gang(function->symbol, &server->call, ranks, (int)rank_count,
                                        (int)get32(body + 12), server->error);
    duration = vine_now() - begin;
    if (server->port->tell_running) server->port->tell_running(server->port->owner, number, 0);
    text[end] = (char)kept;
    if (conclude(server, function, status) == 0)
      report_result(server, number, duration, server->call.result, server->call.result_count);
    else
      report_failure(server, number, duration, server->error);
  }
  free(ranks);
  return duration;
}

// ---- Set-up ----

// The fields of an order, one after the other; NULL behind the last. Each is followed by a NUL then.
static char *next_field(char *order, size_t count, size_t *at, size_t *size) {
  if (*at + 4 > count) return NULL;
  *size = get32(order + *at);
  if (*size > count - *at - 4) return NULL;
  char *field = order + *at + 4;
  order[*at] = 0;  // ends the field before
  *at += 4 + *size;
  return field;
}

static void *find(void *library, const char *name, const char *suffix) {
  char symbol[512];
  if (snprintf(symbol, sizeof symbol, "%s%s", name, suffix) >= (int)sizeof symbol) return NULL;
  return dlsym(library, symbol);
}

// Calls a set-up; 0 with the context it left, or -1 with the error.
static int set_up(struct server *server, void *symbol, const char *name, const char *arguments, size_t count,
                  void **context) {
  prepare(server, arguments, count, NULL);
  server->call.context = server->context;
  int status = ((int (*)(vine_call *))symbol)(&server->call);
  if (status != 0 && server->error[0] == 0)
    snprintf(server->error, sizeof server->error, "the set-up %s returned %d and left no error text", name, status);
  *context = server->call.context;
  return status == 0 ? 0 : -1;
}

static int add_function(struct server *server, void *library, const char *source, const char *name) {
  struct function *more = realloc(server->functions, (server->function_count + 1) * sizeof *more);
  if (!more) return -1;
  server->functions = more;
  struct function *function = &more[server->function_count++];
  *function = (struct function){.name = name, .symbol = dlsym(library, name), .context = server->context};
  if (!function->symbol) {
    snprintf(server->error, sizeof server->error,
             "%s exports no function %s (C++: extern \"C\"; Fortran: bind(C); Rust: #[no_mangle]; Swift: @_cdecl)",
             source, name);
    return -1;
  }
  void *own = find(library, name, "_setup");
  if (own && set_up(server, own, name, "[]", 2, &function->context) != 0) return -1;
  if (own) function->teardown = (void (*)(void *))find(library, name, "_teardown");
  return 0;
}

// Loads the library of an order and sets it up; 0, or -1 with the error.
static int load(struct server *server, char *order, size_t count) {
  size_t at = 0, size = 0, context_count = 0;
  char *fields[8];
  for (int i = 0; i < 8; i++) {
    fields[i] = next_field(order, count, &at, &size);
    if (!fields[i]) {
      snprintf(server->error, sizeof server->error, "the order of the rank is malformed");
      return -1;
    }
    if (i == 7) context_count = size;
  }
  char *name = next_field(order, count, &at, &size);
  order[count] = 0;
  if (atoi(fields[0]) != protocol_version) {
    snprintf(server->error, sizeof server->error, "vine-host speaks protocol %d, the rank %s: install both of one version",
             protocol_version, fields[0]);
    return -1;
  }
  char path[PATH_MAX];
  const char *source = fields[2];
  if (!realpath(source, path)) {
    snprintf(server->error, sizeof server->error, "there is no shared object %s", source);
    return -1;
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    snprintf(server->error, sizeof server->error, "cannot load %s: %s", source, dlerror());
    return -1;
  }
  if (fields[6][0]) {
    void *context = dlsym(library, fields[6]);
    if (!context) {
      snprintf(server->error, sizeof server->error, "%s exports no context function %s", source, fields[6]);
      return -1;
    }
    if (set_up(server, context, fields[6], fields[7], context_count, &server->context) != 0) return -1;
    server->context_teardown = (void (*)(void *))find(library, fields[6], "_teardown");
  }
  while (name) {
    char *next = next_field(order, count, &at, &size);  // ends this name
    if (add_function(server, library, source, name) != 0) return -1;
    name = next;
  }
  return 0;
}

static void tear_down(struct server *server) {
  for (size_t i = 0; i < server->function_count; i++)
    if (server->functions[i].teardown) server->functions[i].teardown(server->functions[i].context);
  if (server->context_teardown) server->context_teardown(server->context);
}

static int begin(struct server *server, const char *body, size_t count) {
  server->order = malloc(count + 1);
  if (!server->order) return -1;
  memcpy(server->order, body, count);
  int64_t start = vine_now();
  if (load(server, server->order, count) == 0) {
    char *at = report(server, frame_ready, 8);
    if (!at) return -1;
    put64(at, (uint64_t)(vine_now() - start));
    return flush(server);
  }
  fflush(NULL);
  size_t length = strlen(server->error);
  char *at = report(server, frame_setup_failed, 4 + length);
  if (at) {
    put32(at, (uint32_t)length);
    memcpy(at + 4, server->error, length);
    flush(server);
  }
  return -1;
}

// ---- Frames ----

// The size of the frame at `at`, without its count; 0 if it is not whole yet.
static size_t frame_at(const struct server *server, size_t at) {
  size_t left = server->in.count - at;
  if (left < 5) return 0;
  size_t size = get32(server->in.at + at);
  return size <= left - 4 ? size : 0;
}

// Marks calls that were taken back before they began, so that they are passed over.
static void look_for_cancels(struct server *server) {
  for (size_t size; (size = frame_at(server, server->scanned)) > 0; server->scanned += 4 + size) {
    const char *frame = server->in.at + server->scanned + 4;
    if (frame[0] != frame_cancel || size < 9) continue;
    for (size_t at = server->at; at < server->scanned;) {
      size_t other = get32(server->in.at + at);
      char *call = server->in.at + at + 4;
      int is_call = call[0] == frame_call || call[0] == frame_map || call[0] == frame_gang;
      if (is_call && other >= 9 && memcmp(call + 1, frame + 1, 8) == 0) {
        call[0] = frame_taken_back;
        break;
      }
      at += 4 + other;
    }
  }
}

// Reads what there is; 0, or -1 when no more will come.
static int receive(struct server *server, int waits) {
  if (server->at > 0 && (server->at == server->in.count || server->at > 1 << 20)) {
    server->in.count -= server->at;
    memmove(server->in.at, server->in.at + server->at, server->in.count);
    server->scanned -= server->at;
    server->at = 0;
  }
  if (server->in.count == 0 && server->in.room > 4 << 20) {
    free(server->in.at);
    server->in = (struct vine_bytes){0};
  }
  if (vine_bytes_reserve(&server->in, 1 << 18) != 0) return -1;
  long count = server->port->receive(server->port->owner, server->in.at + server->in.count,
                                     server->in.room - server->in.count, waits);
  if (count == 0) return -1;
  if (count > 0) server->in.count += (size_t)count;
  look_for_cancels(server);
  return 0;
}

static int64_t run_frame(struct server *server, struct function *function, int kind, uint64_t number, char *body,
                         size_t count) {
  switch (kind) {
    case frame_call: return run(server, function, number, body, count);
    case frame_map: return run_map(server, function, number, body, count);
    default: return run_gang(server, function, number, body, count);
  }
}

static int serve_call(struct server *server, int kind, char *body, size_t count) {
  uint64_t number = get64(body);
  struct function *function = function_of(server, body);
  if (!function) return report_failure(server, number, 0, server->error);
  if (server->out.count > 0 && function->expected > patience && flush(server) != 0) return -1;
  int is_first = server->out.count == 0;
  int64_t duration = run_frame(server, function, kind, number, body, count);
  if (duration > function->expected) function->expected = duration;
  else function->expected -= function->expected >> 4;
  if (is_first) server->out_since = vine_now();
  return 0;
}

// Whether the frame was served and others may follow.
static int serve_frame(struct server *server, size_t size) {
  char *frame = server->in.at + server->at + 4;
  size_t count = size - 1;
  server->at += 4 + size;
  if (server->scanned < server->at) server->scanned = server->at;
  switch (frame[0]) {
    case frame_call: return count >= 14 && serve_call(server, frame_call, frame + 1, count) == 0;
    case frame_map: return count >= 17 && serve_call(server, frame_map, frame + 1, count) == 0;
    case frame_gang: return count >= 20 && serve_call(server, frame_gang, frame + 1, count) == 0;
    case frame_taken_back: {
      char *at = report(server, frame_returned, 8);
      if (at) memcpy(at, frame + 1, 8);
      return at != NULL;
    }
    case frame_cancel: return 1;
    default: return 0;
  }
}

static int serve_all(struct server *server) {
  int64_t looked = 0;
  for (;;) {
    size_t size = frame_at(server, server->at);
    if (size == 0) {
      if (flush(server) != 0 || receive(server, 1) != 0) return 0;
      looked = vine_now();
      continue;
    }
    if (!server->order) {
      if (server->in.at[server->at + 4] != frame_order) return 1;
      size_t at = server->at + 5;
      server->at += 4 + size;
      server->scanned = server->scanned < server->at ? server->at : server->scanned;
      if (begin(server, server->in.at + at, size - 1) != 0) return 1;
      continue;
    }
    if (!serve_frame(server, size)) return 0;
    int64_t time = vine_now();
    if (server->out.count > gathered_max || (server->out.count > 0 && time - server->out_since > patience))
      if (flush(server) != 0) return 0;
    if (time - looked > look_interval && server->in.count - server->at < waiting_max) {
      looked = time;
      if (receive(server, 0) != 0) return 0;
    }
  }
}

int vine_serve(const struct vine_port *port) {
  struct server *server = calloc(1, sizeof *server);
  if (!server) return 1;
  server->port = port;
  server->home = port->owns_process ? open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int status = 1;
  char *at = report(server, frame_hello, 4);
  if (at && vine_bytes_reserve(&server->result, 4096) == 0) {
    put32(at, protocol_version);
    if (flush(server) == 0) status = serve_all(server);
    flush(server);
    tear_down(server);
  }
  if (server->home >= 0) close(server->home);
  free(server->in.at);
  free(server->out.at);
  free(server->result.at);
  free(server->text.at);
  free(server->functions);
  free(server->order);
  free(server);
  return status;
}
