// expect: a union can't be sent to another process: send a std::variant
#include <muster/detail/sendable.hpp>

union Either {
  int number;
  float real;
};

void refused() { muster::detail::check_value<Either>(); }
