// expect: a raw pointer can't be sent
#include <muster/detail/sendable.hpp>

struct Base {
  int value = 0;
};
struct Node : Base {
  Node* next = nullptr;
};

void refused() { muster::detail::check_value<Node>(); }
