// Native test of stats.c: cc -o /tmp/test test.c src/stats.c -lm && /tmp/test
#include <assert.h>
#include <math.h>
#include <string.h>

#include "src/stats.h"

static uint32_t distance(const char *one, const char *other) {
  uint32_t row[64];
  return stats_edit_distance((const uint8_t *)one, strlen(one), (const uint8_t *)other,
                             strlen(other), row);
}

int main(void) {
  double values[] = {4, 1, 3, 2}, deviation;
  assert(stats_mean(values, 4, &deviation) == 2.5);
  assert(fabs(deviation - 1.2909944487358056) < 1e-12);
  stats_sort(values, 4);
  assert(stats_quantile(values, 4, 0.5) == 2.5 && stats_quantile(values, 4, 1) == 4);
  assert(!stats_usable(values, 0) && !stats_usable((double[]){NAN}, 1));

  double slope, intercept, correlation;
  assert(stats_fit((double[]){0, 1, 2}, (double[]){1, 3, 5}, 3, &slope, &intercept, &correlation));
  assert(slope == 2 && intercept == 1 && correlation == 1);
  assert(!stats_fit((double[]){1, 1}, (double[]){1, 2}, 2, &slope, &intercept, &correlation));

  assert(distance("kitten", "sitting") == 3 && distance("", "abc") == 3 && distance("a", "a") == 0);
  assert(stats_crc32((const uint8_t *)"123456789", 9) == 0xcbf43926);
  return 0;
}
