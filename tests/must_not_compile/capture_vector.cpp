// expect: captures by value something that is not plain bytes
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() {
  const auto closure = [list = std::vector<int>{1, 2}](int i) { return list[static_cast<std::size_t>(i)]; };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
}
