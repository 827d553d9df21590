/// @file
/// How cost grows with a number: points of a measurement, and the exponent that fits them.
#pragma once

#include <cmath>
#include <cstdio>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

namespace bench {

/// One measurement: `seconds` for `n` of something.
struct GrowthPoint {
  double n;
  double seconds;
  double mib = 0.0;  ///< memory that it took, where that was measured
};

/// A quantity that was made to grow.
struct Growth {
  std::string name;
  std::string of;  ///< what is counted, for people
  std::vector<GrowthPoint> points;
  double from = 1.0;  ///< below it fixed costs rule: those points do not count for the exponent
  /// Memory for each is measured.
  bool has_memory = false;

  /// The x for which seconds ~ n^x fits best, by least squares of the logarithms: 1 where each costs the same however
  /// many there are. NaN for fewer than two points.
  double exponent() const {
    double count = 0, sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
    for (const GrowthPoint& point : points) {
      if (point.n < from) continue;
      const double x = std::log(point.n), y = std::log(point.seconds);
      ++count;
      sum_x += x;
      sum_y += y;
      sum_xx += x * x;
      sum_xy += x * y;
    }
    return (count * sum_xy - sum_x * sum_y) / (count * sum_xx - sum_x * sum_x);
  }
};

/// `1.2 us`, `3.4 ms`
inline std::string duration_text(double seconds) {
  char text[32];
  if (seconds < 1e-3)
    (void)std::snprintf(text, sizeof text, "%.3g us", seconds * 1e6);
  else if (seconds < 1)
    (void)std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  else
    (void)std::snprintf(text, sizeof text, "%.3g s", seconds);
  return text;
}

inline void print(const Growth& growth) {
  std::printf("\n%s (%s): exponent %.2f from %g on\n", growth.name.c_str(), growth.of.c_str(), growth.exponent(),
              growth.from);
  std::printf("  %12s  %10s  %10s%s\n", "n", "all", "each", growth.has_memory ? "         MiB   bytes each" : "");
  for (const GrowthPoint& point : growth.points) {
    std::printf("  %12.0f  %10s  %10s", point.n, duration_text(point.seconds).c_str(),
                duration_text(point.seconds / point.n).c_str());
    if (growth.has_memory) std::printf("  %10.1f  %11.0f", point.mib, point.mib * 1048576.0 / point.n);
    std::printf("\n");
  }
  (void)std::fflush(stdout);
}

/// As an element of JSON's.
inline void write_json(std::ostream& out, const Growth& growth) {
  out << "{\"name\": \"" << growth.name << "\", \"of\": \"" << growth.of << "\", \"exponent\": " << growth.exponent()
      << ", \"from\": " << growth.from << ", \"points\": [";
  for (std::size_t i = 0; i < growth.points.size(); ++i) {
    const GrowthPoint& point = growth.points[i];
    out << (i == 0 ? "" : ", ") << "{\"n\": " << point.n << ", \"seconds\": " << point.seconds;
    if (growth.has_memory) out << ", \"mib\": " << point.mib;
    out << "}";
  }
  out << "]}";
}

}  // namespace bench
