// expect: captures by reference
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() {
  int number = 1;
  const auto closure = [&number](auto x) { return number + x; };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
}
