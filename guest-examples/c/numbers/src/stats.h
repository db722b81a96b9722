// Statistics over numbers and distances of texts, without any allocation of their own.
#ifndef STATS_H
#define STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether all numbers are finite, and there is at least one.
bool stats_usable(const double *values, size_t count);

// Sorts ascending.
void stats_sort(double *values, size_t count);

// The value below which `part` (0 to 1) of sorted numbers lie, between neighbours by distance.
double stats_quantile(const double *sorted, size_t count, double part);

// Mean, and through `deviation` the sample's standard deviation (Welford's method).
double stats_mean(const double *values, size_t count, double *deviation);

// Least squares; false when all x are the same.
bool stats_fit(const double *x, const double *y, size_t count, double *slope, double *intercept,
               double *correlation);

// Levenshtein's distance. `row` has room for other_length + 1 numbers.
uint32_t stats_edit_distance(const uint8_t *one, size_t one_length, const uint8_t *other,
                             size_t other_length, uint32_t *row);

// CRC-32 (IEEE 802.3).
uint32_t stats_crc32(const uint8_t *bytes, size_t count);

#endif
