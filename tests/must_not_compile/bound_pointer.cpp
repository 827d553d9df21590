// expect: a raw pointer can't be sent to another process
#include <muster/callable.hpp>

void refused() {
  int number = 1;
  const auto bound = muster::bind_front([](const int* p) { return *p; }, &number);
  muster::detail::check_callable<std::remove_const_t<decltype(bound)>>();
}
