// Must compile: what the other files here come close to.
#include <muster/callable.hpp>

struct Node {
  int value = 0;
  std::vector<Node> next;
};
struct Derived : Node {
  std::string text;
};

int function(int number) { return number; }

void accepted() {
  muster::detail::check_value<std::map<std::string, Derived>>();
  muster::detail::check_value<std::set<int, std::greater<>>>();
  muster::detail::check_value<std::unique_ptr<std::vector<int>>>();
  muster::detail::check_value<int (*)(int)>();
  const int number = 1;
  const auto closure = [number](auto x) { return number + x; };
  muster::detail::check_callable<std::remove_const_t<decltype(closure)>>();
  const auto bound = muster::bind_front(
      [](const std::string& text, int n) { return text.size() + static_cast<std::size_t>(n); }, std::string("x"));
  muster::detail::check_callable<std::remove_const_t<decltype(bound)>>();
  muster::detail::check_callable<decltype(&function)>();
}
