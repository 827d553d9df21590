// expect: a raw pointer can't be sent
#include <muster/detail/sendable.hpp>

struct Node {
  int value = 0;
  Node* next = nullptr;
};

void refused() { muster::detail::check_value<Node>(); }
