/// @file
/// Code addresses in words, through elfutils' libdw.
#include "runtime/base/backtrace.hpp"
#include "runtime/base/demangle.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <iterator>
#include <memory>
#include <mutex>
#include <string_view>
#include <unistd.h>
#include <unordered_map>

namespace muster::runtime {
namespace {

/// One function at one address: a function and what is inlined into it have the same address, and a line each.
struct Line {
  std::string function;  ///< empty where unknown
  std::string place;     ///< file:line, or module+offset
};

using Lines = std::vector<Line>;

/// Debug information beside the module or where distributions put it; never from a server, which is libdw's default where
/// DEBUGINFOD_URLS is set: a task's failure must not wait for a download.
int find_debug_information(Dwfl_Module* module, void** user, const char* name, Dwarf_Addr base, const char* file,
                           const char* debug_link, GElf_Word checksum, char** result) {
  const char* servers = std::getenv("DEBUGINFOD_URLS");
  if (servers != nullptr && *servers != '\0') return -1;
  return dwfl_standard_find_debuginfo(module, user, name, base, file, debug_link, checksum, result);
}

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

std::string file_and_line(const char* file, int line) {
  return std::string(file != nullptr ? file : "?") + ":" + std::to_string(line);
}

/// The function's mangled name demangled, or its plain name.
std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (const unsigned code : {unsigned{DW_AT_linkage_name}, unsigned{DW_AT_MIPS_linkage_name}}) {
    if (dwarf_attr_integrate(die, code, &attribute) == nullptr) continue;
    if (const char* name = dwarf_formstring(&attribute)) return demangled(name);
  }
  const char* name = dwarf_diename(die);
  return name != nullptr ? name : "";
}

/// Where the inlined function that this entry stands for was called.
std::string call_place(Dwarf_Die* inlined, Dwarf_Files* files) {
  Dwarf_Attribute attribute;
  Dwarf_Word file = 0;
  Dwarf_Word line = 0;
  if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) != 0) file = 0;
  if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) != 0) line = 0;
  return file_and_line(file == 0 ? nullptr : dwarf_filesrc(files, file, nullptr, nullptr), static_cast<int>(line));
}

/// The functions at an address that are inlined into the one whose symbol is there, innermost first.
/// @param place where the innermost of all is; becomes where the outermost inlined one was called
Lines inlined_functions(Dwfl_Module* module, std::uintptr_t address, std::string& place) {
  Dwarf_Addr bias = 0;
  Dwarf_Die* unit = dwfl_module_addrdie(module, address, &bias);
  Dwarf_Files* files = nullptr;
  if (unit == nullptr || dwarf_getsrcfiles(unit, &files, nullptr) != 0) return {};
  Dwarf_Die* scopes = nullptr;
  if (dwarf_getscopes(unit, address - bias, &scopes) <= 0) return {};
  const std::unique_ptr<Dwarf_Die, FreeMemory> innermost(scopes);
  // Beyond the first inlined function dwarf_getscopes follows where functions were defined; this one, where they were called.
  scopes = nullptr;
  const int count = dwarf_getscopes_die(innermost.get(), &scopes);
  const std::unique_ptr<Dwarf_Die, FreeMemory> callers(scopes);
  Lines lines;
  for (int i = 0; i < count; ++i) {
    if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram) break;
    if (dwarf_tag(&scopes[i]) != DW_TAG_inlined_subroutine) continue;
    lines.push_back({function_name(&scopes[i]), std::move(place)});
    place = call_place(&scopes[i], files);
  }
  return lines;
}

Lines describe(Dwfl_Module* module, std::uintptr_t address) {
  std::string place;
  int number = 0;
  Dwfl_Line* line = dwfl_module_getsrc(module, address);
  const char* file = line != nullptr ? dwfl_lineinfo(line, nullptr, &number, nullptr, nullptr, nullptr) : nullptr;
  Lines lines;
  if (file != nullptr) {
    place = file_and_line(file, number);
    lines = inlined_functions(module, address, place);
  } else {
    Dwarf_Addr start = 0;
    const char* name = dwfl_module_info(module, nullptr, &start, nullptr, nullptr, nullptr, nullptr, nullptr);
    char offset[32];
    std::snprintf(offset, sizeof offset, "+0x%zx", static_cast<std::size_t>(address - start));
    place = (name != nullptr ? name : "?") + std::string(offset);
  }
  const char* symbol = dwfl_module_addrname(module, address);
  lines.push_back({symbol != nullptr ? demangled(symbol) : "", std::move(place)});
  return lines;
}

/// libdw's view of this process. libdw is not made for several threads.
class Symbolizer {
 public:
  Lines lines_at(std::uintptr_t address) {
    const std::lock_guard lock(mutex_);
    if (const auto known = cache_.find(address); known != cache_.end()) return known->second;
    if (cache_.size() >= 10'000) cache_.clear();
    return cache_.emplace(address, look_up(address)).first->second;
  }

 private:
  struct EndSession {
    void operator()(Dwfl* session) const { dwfl_end(session); }
  };

  Lines look_up(std::uintptr_t address) {
    Dwfl_Module* module = session_ ? dwfl_addrmodule(session_.get(), address) : nullptr;
    if (module == nullptr && read_modules()) module = dwfl_addrmodule(session_.get(), address);
    if (module != nullptr) return describe(module, address);
    char text[32];
    std::snprintf(text, sizeof text, "0x%zx", static_cast<std::size_t>(address));
    return {{"", text}};
  }

  /// (Again,) what is loaded: at first, and when an address lies in something that was loaded since.
  bool read_modules() {
    if (!session_) session_.reset(dwfl_begin(&callbacks));
    if (!session_) return false;
    cache_.clear();
    dwfl_report_begin(session_.get());
    const bool reported = dwfl_linux_proc_report(session_.get(), getpid()) == 0;
    return dwfl_report_end(session_.get(), nullptr, nullptr) == 0 && reported;
  }

  static constexpr Dwfl_Callbacks callbacks = {&dwfl_linux_proc_find_elf, &find_debug_information, nullptr, nullptr};

  std::mutex mutex_;  ///< guards what follows
  std::unique_ptr<Dwfl, EndSession> session_;
  std::unordered_map<std::uintptr_t, Lines> cache_;
};

/// One for the process: what it keeps are facts about the process's code, and reading them is slow.
Symbolizer& symbolizer() {
  static Symbolizer instance;
  return instance;
}

/// Whether a demangled function is, or is a member of something, called `prefix...`. It may stand behind a return type; what
/// stands in template arguments or parameters does not count.
bool is_named(std::string_view function, std::string_view prefix) {
  int depth = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (depth == 0 && (i == 0 || function[i - 1] == ' ') && function.substr(i).starts_with(prefix)) return true;
    if (c == '<' || c == '(' || c == '{' || c == '[') ++depth;
    if (c == '>' || c == ')' || c == '}' || c == ']') --depth;
  }
  return false;
}

/// The function in which a task's own code begins: it and what called it are the same for every task.
bool starts_task(const Line& line) { return is_named(line.function, "muster::detail::invoke"); }

/// What calls a task's, a thread's or the program's first function.
bool starts_thread(const Line& line) {
  constexpr std::string_view names[] = {
      "muster::runtime::", "muster::detail::", "std::apply", "std::__apply",  "std::invoke",       "std::__invoke",
      "std::thread::",     "std::jthread::",   "start_thread", "clone",       "__clone",           "__libc_start",
      "_start",            "execute_native_thread_routine",  "asan_thread_start", "__tsan_thread_start_func"};
  return (line.function.empty() && line.place.find("libstdc++") != std::string::npos) ||
         std::any_of(std::begin(names), std::end(names), [&](std::string_view name) { return is_named(line.function, name); });
}

bool is_throw(const Line& line) {
  return line.function.ends_with("__cxa_throw") || is_named(line.function, "muster::runtime::(anonymous namespace)::note");
}

/// Leaves out what is not the task's: throwing at the top, muster and the system at the bottom; but not all there is.
void keep_own(Lines& lines) {
  lines.erase(lines.begin(), std::find_if_not(lines.begin(), lines.end(), is_throw));
  const auto start = std::find_if(lines.begin(), lines.end(), starts_task);
  Lines own(lines.begin(), start);
  while (!own.empty() && starts_thread(own.back())) own.pop_back();
  // A task's function may have been inlined into what calls it, with no debug information to tell them apart.
  if (own.empty() && start != lines.end()) own.assign(lines.begin(), start + 1);
  if (!own.empty()) lines = std::move(own);
}

}  // namespace

std::string symbolized(std::span<const std::uintptr_t> frames) {
  constexpr std::size_t max_lines = 256;
  Lines lines;
  for (const std::uintptr_t frame : frames) {
    Lines here = symbolizer().lines_at(frame);
    std::move(here.begin(), here.end(), std::back_inserter(lines));
  }
  keep_own(lines);
  if (lines.size() > max_lines) lines.resize(max_lines);
  std::string text;
  for (const Line& line : lines) {
    if (!text.empty()) text += '\n';
    text += "  at " + (line.function.empty() ? std::string("?") : line.function) + " (" + line.place + ")";
  }
  return text;
}

}  // namespace muster::runtime
