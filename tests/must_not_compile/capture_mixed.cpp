// expect: captures by reference
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() {
  int number = 1;
  double real = 2;
  const auto closure = [number, &real] { return number + real; };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
}
