/// @file
/// `Auto`: let muster choose.
#pragma once

namespace muster {

/// Type of `Auto`.
struct AutoType {
  explicit constexpr AutoType(int) {}
};

/// Stands where a field takes "a number or Auto", and leaves the choice to muster.
inline constexpr AutoType Auto{0};

/// A number, or `Auto`. Compares with both.
template <class Tag>
class NumberOrAuto {
 public:
  constexpr NumberOrAuto(int value) : value_(value) {}            // NOLINT(google-explicit-constructor)
  constexpr NumberOrAuto(AutoType) : value_(0), automatic_(true) {}  // NOLINT(google-explicit-constructor)

  /// Whether muster chooses.
  constexpr bool automatic() const { return automatic_; }
  /// The number; meaningless when automatic().
  constexpr int value() const { return value_; }

  friend constexpr bool operator==(const NumberOrAuto& a, const NumberOrAuto& b) {
    return a.automatic_ == b.automatic_ && (a.automatic_ || a.value_ == b.value_);
  }
  friend constexpr bool operator==(const NumberOrAuto& a, int b) { return !a.automatic_ && a.value_ == b; }
  friend constexpr bool operator==(const NumberOrAuto& a, AutoType) { return a.automatic_; }

 private:
  int value_;
  bool automatic_ = false;
};

}  // namespace muster
