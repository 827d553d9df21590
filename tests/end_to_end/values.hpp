/// @file
/// Values that tell of their travels, or can't make them.
#pragma once

#include <stdexcept>

namespace muster::test {

/// Counts how often it was read from a message in this process.
struct Counted {
  int value = 0;
  static inline int reads = 0;
  template <class Archive>
  void save(Archive& archive) const {
    archive(value);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value);
    ++reads;
  }
};

/// Can't be written, and says so at run time only.
struct Unwritable {
  template <class Archive>
  void save(Archive&) const {
    throw std::domain_error("this can't be written");
  }
  template <class Archive>
  void load(Archive&) {}
};

/// Can be written, not read.
struct Unreadable {
  template <class Archive>
  void save(Archive& archive) const {
    archive(1);
  }
  template <class Archive>
  void load(Archive&) {
    throw std::domain_error("this can't be read");
  }
};

}  // namespace muster::test
