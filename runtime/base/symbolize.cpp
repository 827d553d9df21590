/// @file
/// Code addresses in words, through elfutils' libdw.
#include "runtime/base/backtrace.hpp"
#include "runtime/base/demangle.hpp"
#include "runtime/base/loader.hpp"

#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>

#include <dwarf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

namespace muster::runtime {
namespace {

/// One function at one address: a function and what is inlined into it have the same address, and a line each.
struct Line {
  std::string function;  ///< empty where unknown
  std::string place;     ///< file:line, or module+offset
};

using Lines = std::vector<Line>;

/// Debug information beside the module or where distributions put it; never from a server, which is libdw's default
/// where DEBUGINFOD_URLS is set: a task's failure must not wait for a download.
int find_debug_information(Dwfl_Module* module, void** user, const char* name, Dwarf_Addr base, const char* file,
                           const char* debug_link, GElf_Word checksum, char** result) {
  const char* servers = std::getenv("DEBUGINFOD_URLS");
  if (servers != nullptr && *servers != '\0') return -1;
  return dwfl_standard_find_debuginfo(module, user, name, base, file, debug_link, checksum, result);
}

/// A module's file. One that came from another process has none with a name that libdw could open, but the dynamic
/// loader knows it by its descriptor.
int find_elf(Dwfl_Module* module, void** user, const char* name, Dwarf_Addr base, char** file, Elf** elf) {
  if (std::string_view(name).starts_with("/memfd:")) {
    const std::string path = loader_name(base);
    const int opened = path.empty() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (opened >= 0) {
      *file = ::strdup(path.c_str());
      return opened;
    }
  }
  return dwfl_linux_proc_find_elf(module, user, name, base, file, elf);
}

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

std::string file_and_line(const char* file, int line) {
  return std::string(file != nullptr ? file : "?") + ":" + std::to_string(line);
}

/// Follows what stands for a function (its inlined copy, its definition) to where its class or namespace declares it.
Dwarf_Die declaration(Dwarf_Die die) {
  Dwarf_Attribute attribute;
  for (const unsigned code : {unsigned{DW_AT_abstract_origin}, unsigned{DW_AT_specification}}) {
    Dwarf_Die next;
    if (dwarf_attr(&die, code, &attribute) != nullptr && dwarf_formref_die(&attribute, &next) != nullptr) die = next;
  }
  return die;
}

/// Name of a function that only the debug information knows, with its namespaces and classes.
std::string qualified_name(Dwarf_Die* die) {
  Dwarf_Die declared = declaration(*die);
  Dwarf_Die* scopes = nullptr;
  const int count = dwarf_getscopes_die(&declared, &scopes);
  const std::unique_ptr<Dwarf_Die, FreeMemory> owner(scopes);
  const char* own = dwarf_diename(&declared);
  std::string name = own != nullptr ? own : "?";
  for (int i = 1; i < count; ++i) {
    const int tag = dwarf_tag(&scopes[i]);
    const bool is_class = tag == DW_TAG_class_type || tag == DW_TAG_structure_type || tag == DW_TAG_union_type;
    if (!is_class && tag != DW_TAG_namespace) continue;
    const char* outer = dwarf_diename(&scopes[i]);
    if (outer == nullptr && tag != DW_TAG_namespace) continue;  // a lambda's class, which Clang does not name
    name.insert(0, "::").insert(0, outer != nullptr ? outer : "(anonymous namespace)");
  }
  return name;
}

/// A function's mangled name demangled, or its plain name.
std::string function_name(Dwarf_Die* die) {
  Dwarf_Attribute attribute;
  for (const unsigned code : {unsigned{DW_AT_linkage_name}, unsigned{DW_AT_MIPS_linkage_name}}) {
    if (dwarf_attr_integrate(die, code, &attribute) == nullptr) continue;
    if (const char* name = dwarf_formstring(&attribute)) return demangled(name);
  }
  return qualified_name(die);
}

/// Name of the function that a symbol stands for, without what the compiler notes on copies it made: ` [clone .cold]`.
std::string symbol_name(const char* symbol) {
  if (symbol == nullptr) return {};
  const std::string name = demangled(symbol);
  return name.substr(0, name.find(" [clone "));
}

/// Where the inlined function that this entry stands for was called.
std::string call_place(Dwarf_Die* inlined, Dwarf_Files* files) {
  Dwarf_Attribute attribute;
  Dwarf_Word file = 0;
  Dwarf_Word line = 0;
  const bool has_file = dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) == 0;  // may well be 0
  if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) != 0) line = 0;
  return file_and_line(has_file ? dwarf_filesrc(files, file, nullptr, nullptr) : nullptr, static_cast<int>(line));
}

/// The compilation unit that an address belongs to, and by how much its addresses differ from the debug information's.
struct Unit {
  Dwarf_Die* die = nullptr;
  Dwarf_Addr bias = 0;
};

Unit unit_at(Dwfl_Module* module, std::uintptr_t address) {
  Unit unit;
  unit.die = dwfl_module_addrdie(module, address, &unit.bias);
  if (unit.die != nullptr) return unit;
  // Clang writes no index of addresses (.debug_aranges): ask each unit.
  while ((unit.die = dwfl_module_nextcu(module, unit.die, &unit.bias)) != nullptr) {
    if (dwarf_haspc(unit.die, address - unit.bias) > 0) return unit;
  }
  return unit;
}

/// The functions at an address that are inlined into the one whose symbol is there, innermost first.
/// @param place where the innermost of all is; becomes where the outermost inlined one was called
Lines inlined_functions(const Unit& unit, std::uintptr_t address, std::string& place) {
  Dwarf_Files* files = nullptr;
  if (dwarf_getsrcfiles(unit.die, &files, nullptr) != 0) return {};
  Dwarf_Die* scopes = nullptr;
  if (dwarf_getscopes(unit.die, address - unit.bias, &scopes) <= 0) return {};
  const std::unique_ptr<Dwarf_Die, FreeMemory> innermost(scopes);
  // Beyond the first inlined function dwarf_getscopes follows where functions were defined; this one, where they were
  // called.
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

std::string module_and_offset(Dwfl_Module* module, std::uintptr_t address) {
  Dwarf_Addr start = 0;
  const char* name = dwfl_module_info(module, nullptr, &start, nullptr, nullptr, nullptr, nullptr, nullptr);
  char offset[32];
  std::snprintf(offset, sizeof offset, "+0x%zx", static_cast<std::size_t>(address - start));
  return (name != nullptr ? name : "?") + std::string(offset);
}

Lines describe(Dwfl_Module* module, std::uintptr_t address) {
  Lines lines;
  std::string place;
  const Unit unit = unit_at(module, address);
  Dwarf_Line* line = unit.die != nullptr ? dwarf_getsrc_die(unit.die, address - unit.bias) : nullptr;
  int number = 0;
  if (line != nullptr && dwarf_lineno(line, &number) == 0) {
    place = file_and_line(dwarf_linesrc(line, nullptr, nullptr), number);
    lines = inlined_functions(unit, address, place);
  } else {
    place = module_and_offset(module, address);
  }
  lines.push_back({symbol_name(dwfl_module_addrname(module, address)), std::move(place)});
  return lines;
}

/// libdw's view of this process. libdw is not made for several threads.
class Symbolizer {
 public:
  Lines lines_at(std::uintptr_t address) {
    const std::uint64_t changes = loader_changes();
    const std::lock_guard lock(mutex_);
    if (changes_ != changes) {
      read_modules();
      changes_ = changes;
    }
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
    if (module != nullptr) return describe(module, address);
    char text[32];
    std::snprintf(text, sizeof text, "0x%zx", static_cast<std::size_t>(address));
    return {{"", text}};
  }

  /// What is loaded now; all that is known of what was loaded before may be wrong.
  void read_modules() {
    cache_.clear();
    if (!session_) session_.reset(dwfl_begin(&callbacks));
    if (!session_) return;
    dwfl_report_begin(session_.get());
    dwfl_linux_proc_report(session_.get(), getpid());
    dwfl_report_end(session_.get(), nullptr, nullptr);
  }

  static constexpr Dwfl_Callbacks callbacks = {&find_elf, &find_debug_information, nullptr, nullptr};

  std::mutex mutex_;  ///< guards what follows
  std::unique_ptr<Dwfl, EndSession> session_;
  std::unordered_map<std::uintptr_t, Lines> cache_;
  std::uint64_t changes_ = 0;  ///< loader_changes() when the modules were read; 0: not yet
};

/// One for the process: what it keeps are facts about the process's code, and reading them is slow.
Symbolizer& symbolizer() {
  static Symbolizer instance;
  return instance;
}

/// Whether a demangled function is, or is a member of something, called `prefix...`. It may stand behind a return type;
/// what stands in template arguments or parameters does not count.
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

/// Whether it is of the standard library's headers that do nothing but call what they were given. Where it was inlined
/// and there are only line tables (-g1), its name is bare (`operator()`, `__invoke<...>`): the file tells whose it is.
bool calls_for_library(const Line& line) {
  constexpr std::string_view headers[] = {"/bits/invoke.h:", "/bits/std_thread.h:", "/bits/std_function.h:"};
  return std::any_of(std::begin(headers), std::end(headers),
                     [&](std::string_view header) { return line.place.find(header) != std::string::npos; });
}

/// What calls a task's, a thread's or the program's first function.
bool starts_thread(const Line& line) {
  constexpr std::string_view names[] = {"muster::runtime::",
                                        "muster::detail::",
                                        "std::apply",
                                        "std::__apply",
                                        "std::invoke",
                                        "std::__invoke",
                                        "std::thread::",
                                        "std::jthread::",
                                        "start_thread",
                                        "clone",
                                        "__clone",
                                        "__libc_start",
                                        "_start",
                                        "execute_native_thread_routine",
                                        "asan_thread_start",
                                        "__tsan_thread_start_func"};
  // Without their debug information, what of these libraries starts a thread has no name.
  const auto is_in = [&](std::string_view library) { return line.place.find(library) != std::string::npos; };
  return (line.function.empty() && (is_in("/libstdc++.so") || is_in("/libc.so"))) || calls_for_library(line) ||
         std::any_of(std::begin(names), std::end(names),
                     [&](std::string_view name) { return is_named(line.function, name); });
}

bool is_throw(const Line& line) {
  return line.function.ends_with("__cxa_throw") ||
         is_named(line.function, "muster::runtime::(anonymous namespace)::note");
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
