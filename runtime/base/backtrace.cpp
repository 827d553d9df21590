/// @file
/// Noting frames at the throw.
///
/// A shared library that is linked before libstdc++ is asked first for `__cxa_throw`, by the program and by every other
/// library, so the one here sees each throw and passes it on. (A program linked to muster gets that order by itself:
/// the compiler puts libstdc++ last.)
#include "runtime/base/backtrace.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <typeinfo>

namespace muster::runtime {
namespace {

constexpr std::size_t max_frames = 64;

/// Which exception a stack belongs to. The address is used again once the exception is gone.
struct Thrown {
  const void* object;
  const std::type_info* type;
  bool operator==(const Thrown&) const = default;
};

struct Stack {
  std::size_t count;
  std::uintptr_t frames[max_frames];
};

/// This thread's last throws. Several, because destructors and handlers throw and catch exceptions of their own while
/// one is on its way. It needs no construction and no memory from the heap: it is used in the middle of a throw.
struct Recorder {
  int scopes;
  std::size_t next;
  std::array<Thrown, 8> thrown;
  std::array<Stack, 8> stacks;
};

constinit thread_local Recorder recorder = {};

_Unwind_Reason_Code add_frame(_Unwind_Context* context, void* argument) {
  Stack& stack = *static_cast<Stack*>(argument);
  int before_instruction = 0;
  const std::uintptr_t address = _Unwind_GetIPInfo(context, &before_instruction);
  if (address == 0 || stack.count == max_frames) return _URC_END_OF_STACK;
  // A return address may belong to the next line, or even to the next function after a call that never returns.
  stack.frames[stack.count++] = before_instruction != 0 ? address : address - 1;
  return _URC_NO_REASON;
}

void note(const Thrown& thrown) {
  Recorder& mine = recorder;
  // Whatever was at this address before is gone, whether or not anybody wants to know of its successor.
  for (Thrown& earlier : mine.thrown) {
    if (earlier.object == thrown.object) earlier = {};
  }
  if (mine.scopes == 0) return;
  const std::size_t place = mine.next++ % mine.thrown.size();
  mine.thrown[place] = thrown;
  mine.stacks[place].count = 0;
  _Unwind_Backtrace(&add_frame, &mine.stacks[place]);
}

Thrown thrown_by(const std::exception_ptr& exception) {
  // libstdc++'s exception_ptr is one pointer to the object that was thrown, which __cxa_throw was given.
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  const void* object = nullptr;
  std::memcpy(static_cast<void*>(&object), static_cast<const void*>(&exception), sizeof object);
  return {object, object != nullptr ? exception.__cxa_exception_type() : nullptr};
}

}  // namespace

BacktraceScope::BacktraceScope() {
  if (recorder.scopes++ == 0) recorder.thrown = {};
}

BacktraceScope::~BacktraceScope() { --recorder.scopes; }

Frames frames_of(const std::exception_ptr& exception) {
  if (!exception) return {};
  const Recorder& mine = recorder;
  const auto found = std::find(mine.thrown.begin(), mine.thrown.end(), thrown_by(exception));
  if (found == mine.thrown.end()) return {};
  const Stack& stack = mine.stacks[static_cast<std::size_t>(found - mine.thrown.begin())];
  return {stack.frames, stack.frames + stack.count};
}

void note_frames(const std::exception_ptr& exception) {
  if (exception) note(thrown_by(exception));
}

}  // namespace muster::runtime

extern "C" {

/// Itanium C++ ABI 2.4.3: what a throw expression calls.
[[gnu::visibility("default")]] void __cxxabiv1::__cxa_throw(void* object, std::type_info* type,
                                                            void (*destructor)(void*)) {
  using Next = void (*)(void*, std::type_info*, void (*)(void*));
  static const auto next = reinterpret_cast<Next>(dlsym(RTLD_NEXT, "__cxa_throw"));
  if (next == nullptr) {
    std::fputs("muster: there is no __cxa_throw behind its own; link libstdc++ as a shared library, after muster\n",
               stderr);
    std::abort();
  }
  muster::runtime::note({object, type});
  next(object, type, destructor);
  __builtin_unreachable();
}
}
