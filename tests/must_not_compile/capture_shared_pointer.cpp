// expect: captures by value something that is not plain bytes
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() {
  const auto closure = [pointer = std::make_shared<int>(1)] { return *pointer; };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
}
