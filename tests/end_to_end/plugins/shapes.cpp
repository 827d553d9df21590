// A plugin with something of everything: functions, lambdas that it sends itself, static and thread_local objects,
// types and exceptions that cross its border.
#include "shapes.hpp"

#include <muster/muster.hpp>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

std::atomic<int> constructed{0};

/// Notes its construction, and its destruction in the file that the environment names.
struct Witness {
  Witness() { ++constructed; }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() {
    if (const char* file = std::getenv("MUSTER_TEST_WITNESS")) std::ofstream(file) << "destroyed";
  }
};

const Witness witness;                       // NOLINT(cert-err58-cpp): that it is constructed is the point
const std::vector<int> table{1, 2, 3};       // NOLINT(cert-err58-cpp): likewise
thread_local int calls_of_this_thread = 40;  // NOLINT: a plugin's
const bool registered = muster::register_exception<ShapeError>();  // NOLINT(cert-err58-cpp)

class Square final : public Shape {
 public:
  explicit Square(double side) : side_(side) {}
  double area() const override { return side_ * side_; }

 private:
  double side_;
};

}  // namespace

extern "C" {

int triple(int x) { return 3 * x; }
int constructions() { return constructed; }
int sum_of_table() {
  int sum = 0;
  for (const int each : table) sum += each;
  return sum;
}
int next_of_this_thread() { return ++calls_of_this_thread; }

void fail_with_own_type() { throw ShapeError("no such shape"); }
void fail_with_standard_type() { std::vector<int>().at(7) = 1; }
/// Catches by a base class what another module throws.
bool catches_what_it_throws(void (*thrower)()) {
  try {
    thrower();
  } catch (const std::runtime_error&) {
    return true;
  }
  return false;
}
Shape* new_square(double side) { return new Square(side); }
double area_if_square(const Shape& shape) {
  const auto* const square = dynamic_cast<const Square*>(&shape);
  return square != nullptr ? square->area() : -1;
}

void append_p() {
  const char* before = std::getenv("MUSTER_TEST_ORDER");
  setenv("MUSTER_TEST_ORDER", (std::string(before != nullptr ? before : "") + "p").c_str(), 1);
}

/// A lambda of the plugin, sent by the plugin.
int add_there(muster::Pid pid, int a, int b) {
  return muster::remotecall_fetch([a](int y) { return a + y; }, pid, b);
}
std::string mapped_there(muster::Pid pid, const std::vector<std::string>& words) {
  return muster::remotecall_fetch(muster::bind_front(
                                      [](const std::vector<std::string>& all) {
                                        std::string text;
                                        for (const auto& word : all) text += word;
                                        return text;
                                      },
                                      words),
                                  pid);
}

}  // extern "C"
