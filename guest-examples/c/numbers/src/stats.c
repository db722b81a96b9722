#include "stats.h"

#include <math.h>
#include <stdlib.h>

bool stats_usable(const double *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!isfinite(values[i])) return false;
  return count > 0;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void stats_sort(double *values, size_t count) { qsort(values, count, sizeof *values, ascending); }

double stats_quantile(const double *sorted, size_t count, double part) {
  double at = part * (double)(count - 1);
  size_t below = (size_t)at;
  if (below + 1 >= count) return sorted[count - 1];
  return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

double stats_mean(const double *values, size_t count, double *deviation) {
  double mean = 0, squares = 0;
  for (size_t i = 0; i < count; i++) {
    double off = values[i] - mean;
    mean += off / (double)(i + 1);
    squares += off * (values[i] - mean);
  }
  *deviation = count > 1 ? sqrt(squares / (double)(count - 1)) : 0;
  return mean;
}

bool stats_fit(const double *x, const double *y, size_t count, double *slope, double *intercept,
               double *correlation) {
  double unused, mx = stats_mean(x, count, &unused), my = stats_mean(y, count, &unused);
  double xx = 0, xy = 0, yy = 0;
  for (size_t i = 0; i < count; i++) {
    double dx = x[i] - mx, dy = y[i] - my;
    xx += dx * dx;
    xy += dx * dy;
    yy += dy * dy;
  }
  if (xx == 0) return false;
  *slope = xy / xx;
  *intercept = my - *slope * mx;
  *correlation = yy == 0 ? 0 : xy / sqrt(xx * yy);
  return true;
}

static uint32_t least_of(uint32_t a, uint32_t b) { return a < b ? a : b; }

uint32_t stats_edit_distance(const uint8_t *one, size_t one_length, const uint8_t *other,
                             size_t other_length, uint32_t *row) {
  for (size_t j = 0; j <= other_length; j++) row[j] = (uint32_t)j;
  for (size_t i = 0; i < one_length; i++) {
    uint32_t corner = row[0];
    row[0] = (uint32_t)(i + 1);
    for (size_t j = 0; j < other_length; j++) {
      uint32_t replaced = corner + (one[i] != other[j]);
      corner = row[j + 1];
      row[j + 1] = least_of(replaced, least_of(row[j], corner) + 1);
    }
  }
  return row[other_length];
}

uint32_t stats_crc32(const uint8_t *bytes, size_t count) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}
