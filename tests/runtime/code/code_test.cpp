#include "runtime/code/code.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace muster::runtime;

int function_here(int x) { return x + 1; }
int static_data = 1;

template <class F>
const void* address(F* function) {
  return reinterpret_cast<const void*>(function);
}

/// A library that comes with the C library, and that nothing else here uses.
constexpr const char* extra_library = "libBrokenLocale.so.1";
constexpr const char* extra_function = "__ctype_get_mb_cur_max";

struct CloseLibrary {
  void operator()(void* library) const { dlclose(library); }
};
using Library = std::unique_ptr<void, CloseLibrary>;

/// What the call throws, as text.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const muster::Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Code, FindsAFunctionOfTheProgramAgain) {
  const CodeReference reference = name_code(address(&function_here));
  EXPECT_NE(reference.module, 0U);
  EXPECT_EQ(find_code(reference), address(&function_here));
  EXPECT_EQ(reinterpret_cast<int (*)(int)>(const_cast<void*>(find_code(reference)))(41), 42);
}

TEST(Code, FindsAFunctionOfTheLibraryAgain) {
  const CodeReference reference = name_code(address(&name_code));
  EXPECT_EQ(find_code(reference), address(&name_code));
}

TEST(Code, ModulesDiffer) {
  const CodeReference here = name_code(address(&function_here));
  const CodeReference libc = name_code(dlsym(RTLD_DEFAULT, "getpid"));
  EXPECT_NE(here.module, libc.module);
  EXPECT_EQ(find_code(libc), dlsym(RTLD_DEFAULT, "getpid"));
}

TEST(Code, FindsWhatWasLoadedLaterAndForgetsWhatWasUnloaded) {
  static_cast<void>(name_code(address(&function_here)));  // the table of modules is read before
  Library library(dlopen(extra_library, RTLD_NOW | RTLD_LOCAL));
  ASSERT_TRUE(library) << dlerror();
  const void* function = dlsym(library.get(), extra_function);
  ASSERT_NE(function, nullptr);
  const CodeReference reference = name_code(function);
  EXPECT_NE(reference.module, name_code(address(&function_here)).module);
  EXPECT_EQ(find_code(reference), function);
  library.reset();
  if (dlopen(extra_library, RTLD_NOW | RTLD_NOLOAD) != nullptr)
    GTEST_SKIP() << "something keeps " << extra_library << " loaded";
  EXPECT_NE(error_of([&] { find_code(reference); }).find("is not loaded in this process"), std::string::npos);
  EXPECT_THROW(name_code(function), muster::Error);
}

TEST(Code, RefusesAddressesThatAreNotCode) {
  const int on_stack = 0;
  const auto on_heap = std::make_unique<int>(0);
  EXPECT_THROW(name_code(nullptr), muster::Error);
  EXPECT_THROW(name_code(&on_stack), muster::Error);
  EXPECT_THROW(name_code(on_heap.get()), muster::Error);
  EXPECT_THROW(name_code(&static_data), muster::Error);  // in a module, but not in its code
}

TEST(Code, RefusesHostileReferences) {
  const CodeReference good = name_code(address(&function_here));
  const auto base = reinterpret_cast<std::uint64_t>(address(&function_here)) - good.offset;
  const auto heap = std::make_unique<int>(0);
  const std::uint64_t offsets[] = {
      0,  // the ELF header is not executable
      std::numeric_limits<std::uint64_t>::max(),
      std::uint64_t{1} << 63U,
      std::uint64_t{1} << 40U,
      0 - base,  // address 0
      reinterpret_cast<std::uint64_t>(&static_data) - base,
      reinterpret_cast<std::uint64_t>(heap.get()) - base,
      reinterpret_cast<std::uint64_t>(dlsym(RTLD_DEFAULT, "getpid")) - base};  // another module's
  for (const std::uint64_t offset : offsets) {
    const std::string error = error_of([&] { find_code({good.module, offset}); });
    EXPECT_NE(error.find("not inside its code"), std::string::npos) << offset << ": " << error;
    EXPECT_NE(error.find(program_path()), std::string::npos) << error;
  }
  EXPECT_NE(error_of([&] { find_code({good.module + 1, good.offset}); }).find("is not loaded in this process"),
            std::string::npos);
}

TEST(Code, KnowsTheProgram) {
  EXPECT_EQ(program_path(), std::filesystem::read_symlink("/proc/self/exe").string());
  const std::string id = program_build_id();
  EXPECT_GE(id.size(), 16U);
  EXPECT_EQ(id, program_build_id());
}

TEST(Code, AnyThreadMayAskWhileLibrariesComeAndGo) {
  const CodeReference here = name_code(address(&function_here));
  std::atomic<bool> stop = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        EXPECT_EQ(find_code(here), address(&function_here));
        EXPECT_EQ(name_code(address(&name_code)), name_code(address(&name_code)));
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    const Library library(dlopen(extra_library, RTLD_NOW | RTLD_LOCAL));
    EXPECT_TRUE(library) << dlerror();
    if (!library) break;
    EXPECT_EQ(find_code(name_code(dlsym(library.get(), extra_function))), dlsym(library.get(), extra_function));
  }
  stop = true;
}

template <class... T>
std::optional<std::size_t> find_address_among(const T&... values) {
  std::vector<std::byte> bytes;
  const auto add = [&](const auto& value) {
    const auto source = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), source.begin(), source.end());
  };
  (add(values), ...);
  return find_address(bytes);
}

TEST(FindAddress, SeesPointersWhereverTheyPoint) {
  int on_stack = 0;
  const auto on_heap = std::make_unique<int>(0);
  EXPECT_EQ(find_address_among(&on_stack), 0U);
  EXPECT_EQ(find_address_among(1.5, on_heap.get()), 8U);
  EXPECT_EQ(find_address_among(std::uint64_t{3}, 2.0, &static_data, on_heap.get()), 16U);
  EXPECT_EQ(find_address_among(&function_here), 0U);
  EXPECT_EQ(find_address_among(reinterpret_cast<const char*>(on_heap.get()) + 3), 0U);  // into the middle
}

TEST(FindAddress, LeavesNumbersAlone) {
  EXPECT_EQ(find_address_among(0.0, 1.0, -1.0, 3.14159, 1e300, 1e-300, std::numeric_limits<double>::infinity()),
            std::nullopt);
  EXPECT_EQ(find_address_among(std::int64_t{0}, std::int64_t{1}, std::int64_t{-1}, std::int64_t{1'000'000},
                               std::int64_t{4'000'000'000}, std::numeric_limits<std::int64_t>::max(),
                               std::numeric_limits<std::int64_t>::min()),
            std::nullopt);
  EXPECT_EQ(find_address_among(std::uint64_t{1'700'000'000'000}), std::nullopt);          // milliseconds since 1970
  EXPECT_EQ(find_address_among(std::uint64_t{1'700'000'000'000'000}), std::nullopt);      // microseconds
  EXPECT_EQ(find_address_among(std::uint64_t{1'700'000'000'000'000'000}), std::nullopt);  // nanoseconds
  EXPECT_EQ(find_address_among(std::uint64_t{1} << 40U), std::nullopt);
  EXPECT_EQ(find_address_among(1.0F, 2.0F, 3, 4), std::nullopt);
  EXPECT_EQ(find_address({}), std::nullopt);
}

TEST(FindAddress, SeesOnlyMappedMemory) {
  const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* page = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_EQ(find_address_among(page), 0U);  // never touched
  munmap(page, size);
  EXPECT_EQ(find_address_among(page), std::nullopt);
}

TEST(FindAddress, LooksAtWholeAlignedWordsOnly) {
  const int on_stack = 0;
  const int* pointer = &on_stack;
  std::array<std::byte, 16> bytes{};
  std::memcpy(bytes.data() + 8, &pointer, sizeof pointer);
  EXPECT_EQ(find_address(bytes), 8U);
  EXPECT_EQ(find_address(std::span(bytes).first(15)), std::nullopt);  // no whole word is left
  EXPECT_EQ(find_address(std::span(bytes).subspan(8)), 0U);
}

}  // namespace
