/// @file
/// Noting frames at the throw.
///
/// A shared library that is linked before libstdc++ is asked first for `__cxa_throw`, by the program and by every other
/// library, so the one here sees each throw and passes it on. (A program linked to muster gets that order by itself: the
/// compiler puts libstdc++ last.)
#include "runtime/base/backtrace.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <unwind.h>

namespace muster::runtime {
namespace {

constexpr std::size_t max_frames = 64;

/// One throw.
struct Throw {
  const void* object;  ///< the exception; its address is used again once it is gone, so the latest entry counts
  std::size_t count;
  std::uintptr_t frames[max_frames];
};

/// This thread's last throws. Several, because destructors and handlers throw and catch exceptions of their own while one is
/// on its way. It needs no construction and no memory from the heap: it is used in the middle of a throw.
struct Recorder {
  int scopes;
  std::size_t next;
  std::array<Throw, 8> throws;
};

constinit thread_local Recorder recorder = {};

_Unwind_Reason_Code add_frame(_Unwind_Context* context, void* argument) {
  Throw& record = *static_cast<Throw*>(argument);
  int before_instruction = 0;
  const std::uintptr_t address = _Unwind_GetIPInfo(context, &before_instruction);
  if (address == 0 || record.count == max_frames) return _URC_END_OF_STACK;
  // A return address may belong to the next line, or even to the next function after a call that never returns.
  record.frames[record.count++] = before_instruction != 0 ? address : address - 1;
  return _URC_NO_REASON;
}

void note(const void* object) {
  Recorder& mine = recorder;
  if (mine.scopes == 0) return;
  Throw& record = mine.throws[mine.next++ % mine.throws.size()];
  record.object = object;
  record.count = 0;
  _Unwind_Backtrace(&add_frame, &record);
}

const void* object_of(const std::exception_ptr& exception) {
  // Both standard libraries' exception_ptr is one pointer to the object that was thrown, which __cxa_throw was given.
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  const void* object = nullptr;
  std::memcpy(&object, &exception, sizeof object);
  return object;
}

}  // namespace

BacktraceScope::BacktraceScope() {
  Recorder& mine = recorder;
  if (mine.scopes++ > 0) return;
  for (Throw& record : mine.throws) record.object = nullptr;
}

BacktraceScope::~BacktraceScope() { --recorder.scopes; }

Frames frames_of(const std::exception_ptr& exception) {
  const void* object = object_of(exception);
  if (object == nullptr) return {};
  const Recorder& mine = recorder;
  const std::size_t size = mine.throws.size();
  for (std::size_t age = 1; age <= std::min(size, mine.next); ++age) {
    const Throw& record = mine.throws[(mine.next - age) % size];
    if (record.object == object) return {record.frames, record.frames + record.count};
  }
  return {};
}

void note_frames(const std::exception_ptr& exception) { note(object_of(exception)); }

}  // namespace muster::runtime

extern "C" {

/// Itanium C++ ABI 2.4.3: what a throw expression calls.
[[noreturn, gnu::visibility("default")]] void __cxxabiv1::__cxa_throw(void* object, std::type_info* type,
                                                                      void (*destructor)(void*)) {
  using Next = void (*)(void*, std::type_info*, void (*)(void*));
  static const auto next = reinterpret_cast<Next>(dlsym(RTLD_NEXT, "__cxa_throw"));
  if (next == nullptr) {
    std::fputs("muster: there is no __cxa_throw behind its own; link libstdc++ as a shared library, after muster\n", stderr);
    std::abort();
  }
  muster::runtime::note(object);
  next(object, type, destructor);
  __builtin_unreachable();
}
}
