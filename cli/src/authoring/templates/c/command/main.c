/* A command-line tool: an ordinary program. It reads text on stdin and prints its most frequent
   words; the first argument says how many (10 by default). */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer words are cut. */
#define WORD_BYTES 64

typedef struct {
  char text[WORD_BYTES];
  unsigned long count;
} word_t;

static word_t *words;
static size_t used, room;

static int by_text(const void *a, const void *b) {
  return strcmp(((const word_t *)a)->text, ((const word_t *)b)->text);
}

static int by_count(const void *a, const void *b) {
  const word_t *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return by_text(a, b);
}

static void add(const char *text) {
  if (used == room) {
    room = room ? 2 * room : 1024;
    words = realloc(words, room * sizeof(word_t));
    if (!words) abort();
  }
  word_t *word = &words[used++];
  *word = (word_t){.count = 1};
  strncpy(word->text, text, WORD_BYTES - 1);
}

int main(int argc, char **argv) {
  char *end = NULL;
  long most = argc > 1 ? strtol(argv[1], &end, 10) : 10;
  if (most < 0 || (end && (*end || end == argv[1]))) {
    fprintf(stderr, "how many words? \"%s\" is not a number\n", argv[1]);
    return 2;
  }

  char text[WORD_BYTES];
  size_t length = 0;
  for (int letter = 0; letter != EOF;) {
    letter = getchar();
    /* Bytes above 127 are parts of letters beyond ASCII. */
    if (letter != EOF && (isalnum(letter) || letter > 127)) {
      if (length < WORD_BYTES - 1) text[length++] = (char)tolower(letter);
    } else if (length > 0) {
      text[length] = '\0';
      add(text);
      length = 0;
    }
  }
  if (ferror(stdin)) {
    perror("cannot read stdin");
    return 1;
  }

  /* Bring the same words together, then count each once. */
  qsort(words, used, sizeof(word_t), by_text);
  size_t kinds = 0;
  for (size_t at = 0; at < used; at++) {
    if (kinds > 0 && strcmp(words[kinds - 1].text, words[at].text) == 0) words[kinds - 1].count++;
    else words[kinds++] = words[at];
  }
  qsort(words, kinds, sizeof(word_t), by_count);
  for (size_t at = 0; at < kinds && at < (size_t)most; at++)
    printf("%lu\t%s\n", words[at].count, words[at].text);
  free(words);
  return 0;
}
