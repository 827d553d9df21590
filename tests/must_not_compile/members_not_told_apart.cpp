// expect: can't be told apart
// expect: void serialize(Archive&)
#include <muster/detail/sendable.hpp>

struct Base {
  int value = 0;
};
struct Derived : Base {
  int few : 3;
  int more : 5;
  int third : 7;
};

void refused() { muster::detail::check_value<Derived>(); }
