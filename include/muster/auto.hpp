/// @file
/// `Auto`: let muster choose.
#pragma once

namespace muster {

/// Type of `Auto`.
struct AutoType {
  /// Nobody but `Auto` is one.
  explicit constexpr AutoType(int) {}
};

/// Stands where a field takes "a number or Auto", and leaves the choice to muster.
inline constexpr AutoType Auto{0};

/// A number, or `Auto`. Compares with both.
template <class Tag>
class NumberOrAuto {
 public:
  /// A number.
  constexpr NumberOrAuto(int value) : value_(value) {}  // NOLINT(google-explicit-constructor)
  /// Muster's choice.
  constexpr NumberOrAuto(AutoType) : value_(0), automatic_(true) {}  // NOLINT(google-explicit-constructor)

  /// Whether muster chooses.
  constexpr bool automatic() const { return automatic_; }
  /// The number; meaningless when automatic().
  constexpr int value() const { return value_; }

  /// Same number, or both Auto.
  friend constexpr bool operator==(const NumberOrAuto& a, const NumberOrAuto& b) {
    return a.automatic_ == b.automatic_ && (a.automatic_ || a.value_ == b.value_);
  }
  /// Whether it is that number.
  friend constexpr bool operator==(const NumberOrAuto& a, int b) { return !a.automatic_ && a.value_ == b; }
  /// Whether it is Auto.
  friend constexpr bool operator==(const NumberOrAuto& a, AutoType) { return a.automatic_; }

 private:
  int value_;
  bool automatic_ = false;
};

}  // namespace muster
