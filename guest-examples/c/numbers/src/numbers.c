// The tool's functions: the bindings' types on one side, stats.c on the other. What a function returns
// is freed by the bindings; arguments are freed here.
#include "numbers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats.h"

#define LONGEST_TEXT 10000

static bool refuse(numbers_string_t *err, const char *why) {
  numbers_string_dup(err, why);
  return false;
}

bool exports_numbers_summarize(numbers_list_f64_t *values, numbers_summary_t *ret,
                               numbers_string_t *err) {
  bool usable = stats_usable(values->ptr, values->len);
  if (usable) {
    double *v = values->ptr;
    size_t n = values->len;
    ret->mean = stats_mean(v, n, &ret->deviation);
    stats_sort(v, n);
    ret->count = (uint32_t)n;
    ret->sum = ret->mean * (double)n;
    ret->least = v[0];
    ret->quartile = stats_quantile(v, n, 0.25);
    ret->median = stats_quantile(v, n, 0.5);
    ret->upper_quartile = stats_quantile(v, n, 0.75);
    ret->most = v[n - 1];
  }
  numbers_list_f64_free(values);
  return usable || refuse(err, "at least one number is needed, and all have to be finite");
}

bool exports_numbers_outliers(numbers_list_f64_t *values, numbers_list_u32_t *ret,
                              numbers_string_t *err) {
  size_t n = values->len;
  double *sorted = malloc(n * sizeof *sorted);
  uint32_t *found = malloc(n * sizeof *found);
  bool usable = stats_usable(values->ptr, n) && sorted && found;
  if (usable) {
    memcpy(sorted, values->ptr, n * sizeof *sorted);
    stats_sort(sorted, n);
    double low = stats_quantile(sorted, n, 0.25), high = stats_quantile(sorted, n, 0.75);
    double fence = 1.5 * (high - low);
    ret->ptr = found;
    ret->len = 0;
    for (size_t i = 0; i < n; i++)
      if (values->ptr[i] < low - fence || values->ptr[i] > high + fence)
        found[ret->len++] = (uint32_t)i;
    // An empty list owns nothing, so the bindings would not free it.
    if (ret->len == 0) {
      free(found);
      ret->ptr = NULL;
    }
  } else {
    free(found);
  }
  free(sorted);
  numbers_list_f64_free(values);
  return usable || refuse(err, "at least one number is needed, and all have to be finite");
}

bool exports_numbers_fit_line(numbers_list_f64_t *x, numbers_list_f64_t *y,
                              numbers_trend_t *ret, numbers_string_t *err) {
  const char *why = NULL;
  if (x->len != y->len)
    why = "x and y have to be lists of the same length";
  else if (!stats_usable(x->ptr, x->len) || !stats_usable(y->ptr, y->len))
    why = "at least two points are needed, and all numbers have to be finite";
  else if (!stats_fit(x->ptr, y->ptr, x->len, &ret->slope, &ret->intercept, &ret->correlation))
    why = "all x are the same: no line goes through the points";
  numbers_list_f64_free(x);
  numbers_list_f64_free(y);
  return !why || refuse(err, why);
}

bool exports_numbers_edit_distance(numbers_string_t *one, numbers_string_t *other, uint32_t *ret,
                                   numbers_string_t *err) {
  bool fits = one->len <= LONGEST_TEXT && other->len <= LONGEST_TEXT;
  uint32_t *row = fits ? malloc((other->len + 1) * sizeof *row) : NULL;
  if (row) *ret = stats_edit_distance(one->ptr, one->len, other->ptr, other->len, row);
  bool done = row != NULL;
  free(row);
  numbers_string_free(one);
  numbers_string_free(other);
  return done || refuse(err, "a text may have at most 10,000 bytes");
}

void exports_numbers_checksum(numbers_string_t *text, numbers_string_t *ret) {
  char digits[9];
  snprintf(digits, sizeof digits, "%08x", (unsigned)stats_crc32(text->ptr, text->len));
  numbers_string_free(text);
  numbers_string_dup(ret, digits);
}
