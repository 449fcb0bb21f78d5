// JSON texts without values: where they begin and end, and whether they are well formed.
#include "cvinehost.h"

#include <stdlib.h>
#include <string.h>

static size_t skip_space(const char *text, size_t count, size_t at) {
  while (at < count && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t')) at++;
  return at;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static int is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// The length of the UTF-8 sequence at `at`; 0 if it is none (RFC 3629).
static size_t sequence(const unsigned char *text, size_t count, size_t at) {
  unsigned char first = text[at];
  size_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (length == 0 || count - at < length) return 0;
  for (size_t i = 1; i < length; i++)
    if ((text[at + i] & 0xC0) != 0x80) return 0;
  unsigned char second = text[at + 1];
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second > 0x9F) return 0;  // surrogates
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second > 0x8F) return 0;
  return length;
}

// The end of the string whose quotation mark is at `at`.
static size_t string_end(const char *text, size_t count, size_t at) {
  for (at++; at < count;) {
    unsigned char c = (unsigned char)text[at];
    if (c == '"') return at + 1;
    if (c < 0x20) return 0;
    if (c == '\\') {
      if (++at >= count) return 0;
      if (text[at] == 'u') {
        if (count - at < 5) return 0;
        for (int i = 1; i < 5; i++)
          if (!is_hex(text[at + (size_t)i])) return 0;
        at += 5;
      } else {
        if (text[at] == 0 || !strchr("\"\\/bfnrt", text[at])) return 0;
        at++;
      }
    } else if (c < 0x80) {
      at++;
    } else {
      size_t length = sequence((const unsigned char *)text, count, at);
      if (length == 0) return 0;
      at += length;
    }
  }
  return 0;
}

static size_t number_end(const char *text, size_t count, size_t at) {
  if (text[at] == '-') at++;
  if (at >= count || !is_digit(text[at])) return 0;
  if (text[at] == '0') at++;
  else
    while (at < count && is_digit(text[at])) at++;
  if (at < count && text[at] == '.') {
    if (++at >= count || !is_digit(text[at])) return 0;
    while (at < count && is_digit(text[at])) at++;
  }
  if (at < count && (text[at] == 'e' || text[at] == 'E')) {
    at++;
    if (at < count && (text[at] == '+' || text[at] == '-')) at++;
    if (at >= count || !is_digit(text[at])) return 0;
    while (at < count && is_digit(text[at])) at++;
  }
  return at;
}

static size_t word_end(const char *text, size_t count, size_t at, const char *word) {
  size_t length = strlen(word);
  return count - at >= length && memcmp(text + at, word, length) == 0 ? at + length : 0;
}

static size_t scalar_end(const char *text, size_t count, size_t at) {
  switch (text[at]) {
    case '"': return string_end(text, count, at);
    case 't': return word_end(text, count, at, "true");
    case 'f': return word_end(text, count, at, "false");
    case 'n': return word_end(text, count, at, "null");
    default: return text[at] == '-' || is_digit(text[at]) ? number_end(text, count, at) : 0;
  }
}

// From a name of an object to the value behind its colon.
static size_t value_of_name(const char *text, size_t count, size_t at) {
  if (at >= count || text[at] != '"') return 0;
  at = string_end(text, count, at);
  if (at == 0) return 0;
  at = skip_space(text, count, at);
  if (at >= count || text[at] != ':') return 0;
  return skip_space(text, count, at + 1);
}

size_t vine_json_value_end(const char *text, size_t count, size_t at) {
  // What is open: '[' or '{'.
  char open[VINE_JSON_DEPTH_MAX];
  size_t depth = 0;
  at = skip_space(text, count, at);
  for (;;) {
    // A value begins here.
    if (at >= count) return 0;
    char c = text[at];
    if (c == '[' || c == '{') {
      if (depth == VINE_JSON_DEPTH_MAX) return 0;
      size_t inner = skip_space(text, count, at + 1);
      if (inner >= count) return 0;
      if (text[inner] != (c == '[' ? ']' : '}')) {
        open[depth++] = c;
        at = c == '[' ? inner : value_of_name(text, count, inner);
        if (at == 0) return 0;
        continue;
      }
      at = inner + 1;
    } else {
      at = scalar_end(text, count, at);
      if (at == 0) return 0;
    }
    // A value has ended here.
    for (;;) {
      if (depth == 0) return at;
      at = skip_space(text, count, at);
      if (at >= count) return 0;
      if (text[at] == ',') {
        at = skip_space(text, count, at + 1);
        if (open[depth - 1] == '{') {
          at = value_of_name(text, count, at);
          if (at == 0) return 0;
        }
        break;
      }
      if (text[at] != (open[depth - 1] == '[' ? ']' : '}')) return 0;
      depth--;
      at++;
    }
  }
}

int vine_json_is_value(const char *text, size_t count) {
  size_t end = vine_json_value_end(text, count, 0);
  return end > 0 && skip_space(text, count, end) == count;
}

int vine_json_next_element(const char *text, size_t count, size_t *at, size_t *start, size_t *end) {
  size_t place = skip_space(text, count, *at);
  int is_first = *at == 0;
  if (place >= count) return -1;
  if (is_first) {
    if (text[place] != '[') return -1;
    place = skip_space(text, count, place + 1);
    if (place >= count) return -1;
  }
  if (text[place] == ']') return skip_space(text, count, place + 1) == count ? 0 : -1;
  if (!is_first) {
    if (text[place] != ',') return -1;
    place = skip_space(text, count, place + 1);
  }
  *start = place;
  *end = vine_json_value_end(text, count, place);
  if (*end == 0) return -1;
  *at = *end;
  return 1;
}

int vine_json_find_arguments(const char *text, size_t count, size_t *args, size_t *args_end, size_t *kwargs,
                             size_t *kwargs_end) {
  *args = *args_end = *kwargs = *kwargs_end = 0;
  size_t at = skip_space(text, count, 0);
  if (at >= count || text[at] != '{') return -1;
  at = skip_space(text, count, at + 1);
  while (at < count && text[at] == '"') {
    size_t name = at;
    at = value_of_name(text, count, at);
    if (at == 0) return -1;
    size_t end = vine_json_value_end(text, count, at);
    if (end == 0) return -1;
    if (count - name > 6 && memcmp(text + name, "\"args\"", 6) == 0) {
      *args = at;
      *args_end = end;
    } else if (count - name > 8 && memcmp(text + name, "\"kwargs\"", 8) == 0) {
      *kwargs = at;
      *kwargs_end = end;
    }
    at = skip_space(text, count, end);
    if (at >= count) return -1;
    if (text[at] == '}') break;
    if (text[at] != ',') return -1;
    at = skip_space(text, count, at + 1);
  }
  return at < count && text[at] == '}' && *args_end && text[*args] == '[' ? 0 : -1;
}

// The end of a hole at `at`; 0 if there is none.
static size_t hole_end(const char *text, size_t count, size_t at) {
  if (text[at] != '{') return 0;
  size_t name = skip_space(text, count, at + 1);
  if (count - name < 7 || memcmp(text + name, "\"$item\"", 7) != 0) return 0;
  size_t value = value_of_name(text, count, name);
  if (value == 0 || value >= count) return 0;
  size_t end = word_end(text, count, value, "true");
  if (end == 0) return 0;
  end = skip_space(text, count, end);
  return end < count && text[end] == '}' ? end + 1 : 0;
}

int vine_template_parse(struct vine_template *result, const char *text, size_t count) {
  *result = (struct vine_template){text, count, NULL, 0};
  if (!vine_json_is_value(text, count)) return -1;
  // The text is well formed: outside strings each brace begins or ends an object.
  size_t room = 0;
  for (size_t at = 0; at < count;) {
    if (text[at] == '"') {
      at = string_end(text, count, at);
      continue;
    }
    size_t end = hole_end(text, count, at);
    if (end == 0) {
      at++;
      continue;
    }
    if (result->hole_count == room) {
      room = room ? room * 2 : 4;
      size_t *more = realloc(result->holes, room * 2 * sizeof *more);
      if (!more) {
        vine_template_free(result);
        return -1;
      }
      result->holes = more;
    }
    result->holes[result->hole_count * 2] = at;
    result->holes[result->hole_count * 2 + 1] = end;
    result->hole_count++;
    at = end;
  }
  return 0;
}

void vine_template_free(struct vine_template *template) {
  free(template->holes);
  template->holes = NULL;
  template->hole_count = 0;
}

int vine_bytes_reserve(struct vine_bytes *bytes, size_t more) {
  if (more <= bytes->room - bytes->count) return 0;
  if (more > SIZE_MAX / 2 - bytes->count) return -1;
  size_t room = bytes->room ? bytes->room : 4096;
  while (room < bytes->count + more) room *= 2;
  char *at = realloc(bytes->at, room);
  if (!at) return -1;
  bytes->at = at;
  bytes->room = room;
  return 0;
}

int vine_bytes_add(struct vine_bytes *bytes, const void *added, size_t count) {
  if (vine_bytes_reserve(bytes, count) != 0) return -1;
  if (count > 0) memcpy(bytes->at + bytes->count, added, count);
  bytes->count += count;
  return 0;
}

int vine_template_fill(const struct vine_template *template, const char *item, size_t item_count,
                       struct vine_bytes *result) {
  result->count = 0;
  size_t at = 0;
  for (size_t i = 0; i < template->hole_count; i++) {
    const size_t *hole = template->holes + i * 2;
    if (vine_bytes_add(result, template->text + at, hole[0] - at) != 0) return -1;
    if (vine_bytes_add(result, item, item_count) != 0) return -1;
    at = hole[1];
  }
  return vine_bytes_add(result, template->text + at, template->count - at);
}
