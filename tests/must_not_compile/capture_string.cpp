// expect: captures by value something that is not plain bytes
// expect: bind_front
#include <muster/detail/sendable.hpp>

void refused() {
  std::string text = "x";
  const auto closure = [text] { return text.size(); };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
}
