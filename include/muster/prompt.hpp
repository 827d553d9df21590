/// @file
/// What is there at the prompt (`muster`) beside all of muster: printing of values, and code for every process.
///
/// Another C++ prompt may include it too, with `libmuster` loaded; then `everywhere(source)` is that prompt's business.
#pragma once

#include <muster/display.hpp>
#include <muster/muster.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <ranges>
#include <set>
#include <span>
#include <sstream>
#include <stack>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

/// At the prompt: compiles this source, and runs it on every process, and on those that join later before any other
/// call there. `everywhere(R"(#include <cmath>  double twice(double x) { return 2 * x; })")`.
/// @throws Error with the compiler's messages; CompositeException of what it threw; std::logic_error elsewhere than on
/// the prompt's own process
void everywhere(const char* source);
/// The same.
void everywhere(std::string source);

namespace prompt {

/// The script's name and what stood behind it on the command line.
const std::vector<std::string>& arguments();

/// Ends the script with what its main function returns.
void end_script(int status);

/// Calls the main function of a script.
template <class Main>
void run_main(Main main) {
  if constexpr (std::is_invocable_v<Main>) {
    end_script(main());
  } else {
    std::vector<std::string> words = arguments();
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    end_script(main(static_cast<int>(words.size()), argv.data()));
  }
}

/// Shows what an expression at the prompt was worth.
void show_result(const MimeBundle& bundle);

/// Stands behind a value that is to be printed: `(value), Shown{}`. An expression of type void meets the built-in
/// comma.
struct Shown {};

/// Prints the value.
template <class T>
void operator,(T&& value, Shown /*shown*/) {
  if constexpr (!std::is_base_of_v<std::ios_base, std::remove_cvref_t<T>>) show_result(detail::bundle_of(value));
}

}  // namespace prompt

}  // namespace muster
