/* A tool: wit/world.wit says what its functions are, this file what they do. `ringfence build`
   writes tool.h, in .ringfence/c. Strings are UTF-8 with a length, not ended by a zero. What a
   function returns is freed by the bindings, so everything in it has to come from malloc. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

typedef exports_local_{{snake}}_text_counts_t counts_t;
typedef exports_local_{{snake}}_text_hit_t hit_t;
typedef exports_local_{{snake}}_text_list_hit_t hits_t;

static bool is_space(uint8_t byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Length of the line that starts at `start`, without its end. */
static size_t line_length(const tool_string_t *text, size_t start) {
  const uint8_t *end = memchr(text->ptr + start, '\n', text->len - start);
  return end ? (size_t)(end - (text->ptr + start)) : text->len - start;
}

static bool contains(const uint8_t *line, size_t length, const tool_string_t *phrase) {
  for (size_t at = 0; at + phrase->len <= length; at++)
    if (memcmp(line + at, phrase->ptr, phrase->len) == 0) return true;
  return false;
}

void exports_local_{{snake}}_text_measure(tool_string_t *text, counts_t *ret) {
  *ret = (counts_t){.bytes = text->len};
  for (size_t at = 0; at < text->len; at += line_length(text, at) + 1) ret->lines++;
  bool in_word = false;
  for (size_t at = 0; at < text->len; at++) {
    bool space = is_space(text->ptr[at]);
    if (!space && !in_word) ret->words++;
    in_word = !space;
  }
  tool_string_free(text);
}

/* Returning false makes `err` a tool error: the caller sees the text, and a model can try again. */
bool exports_local_{{snake}}_text_find(tool_string_t *text, tool_string_t *phrase, hits_t *ret,
                                       tool_string_t *err) {
  bool found = phrase->len > 0;
  if (!found) tool_string_dup(err, "the phrase is empty");
  *ret = (hits_t){0};
  uint32_t number = 1;
  size_t room = 0;
  for (size_t at = 0; found && at < text->len; number++) {
    size_t length = line_length(text, at);
    if (contains(text->ptr + at, length, phrase)) {
      if (ret->len == room) {
        room = room ? 2 * room : 16;
        hit_t *more = realloc(ret->ptr, room * sizeof(hit_t));
        if (!more) abort(); /* The memory limit is reached: the call ends. */
        ret->ptr = more;
      }
      hit_t *hit = &ret->ptr[ret->len++];
      hit->line = number;
      tool_string_dup_n(&hit->text, (const char *)text->ptr + at, length);
    }
    at += length + 1;
  }
  tool_string_free(text);
  tool_string_free(phrase);
  return found;
}
