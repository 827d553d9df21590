// expect: fetch() returns a copy, and this type can't be copied: use std::move(future).take()
#include <muster/spawn.hpp>

#include <memory>

void refused() {
  (void)muster::spawnat(2, [] { return std::make_unique<int>(1); }).fetch();
}
