/// @file
/// A tour of Muster: call functions on workers, move data badly and well, map, reduce, see errors come
/// home. Each stop says what it does and checks what it got. What workers print appears as "From worker 2: ...",
/// perhaps a moment late.
#include "example.hpp"

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <functional>
#include <numbers>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using Vector = std::vector<double>;

Vector count_to(std::size_t n) {
  Vector numbers(n);
  std::iota(numbers.begin(), numbers.end(), 1.0);
  return numbers;
}

double scaled_sum(const Vector& numbers, double factor) {
  return factor * std::accumulate(numbers.begin(), numbers.end(), 0.0);
}

double scaled_sum_of_kept(const muster::Future<Vector>& numbers, double factor) {
  return scaled_sum(numbers.fetch(), factor);
}

bool check(const char* what, bool right) {
  std::printf("   %s: %s\n", what, right ? "yes" : "NO");
  return right;
}

bool calls_and_futures() {
  std::printf("1. A call returns at once, with a Future for its value; fetch waits for that.\n");
  const muster::Pid worker = muster::workers().front();
  const muster::Future<Vector> numbers = muster::spawnat(worker, count_to, std::size_t{4});
  const muster::Future<double> sum = muster::spawn(scaled_sum_of_kept, numbers, 1.0);  // on any worker, which fetches
  const muster::Pid there = muster::remotecall_fetch(muster::myid, worker);            // call and fetch in one go
  std::printf("   worker %d counted to 4, some other added that up to %g\n", there, sum.fetch());
  return check("the call ran where it was sent, 1 + 2 + 3 + 4 is 10", there == worker && sum.fetch() == 10);
}

std::atomic<int>& step() {
  static std::atomic<int> value{1};  // all processes run this program, each with variables of its own
  return value;
}

bool all_processes() {
  std::printf("2. everywhere runs a function in all processes at once, this one included.\n");
  const auto set_step = [](int value) {
    step() = value;
    std::printf("process %d: step is %d\n", muster::myid(), value);
  };
  muster::everywhere(set_step, 10);
  const std::vector<int> products = muster::pmap([](int i) { return i * step(); }, std::vector<int>{1, 2, 3});
  return check("every process had its own step set", products == std::vector<int>{10, 20, 30} && step() == 10);
}

/// Adds up `term(1)` to `term(20)`; prints how long that took and how much this process sent meanwhile.
template <class Term>
double measured(const char* what, Term term) {
  const auto sent = [] {
    const auto links = muster::debug::links(muster::myid());
    return std::accumulate(links.begin(), links.end(), 0.0,
                           [](double sum, const auto& link) { return sum + static_cast<double>(link.bytes_sent); });
  };
  const double before = sent();
  const auto [sum, seconds] = example::timed([&] {
    double total = 0;
    for (int i = 1; i <= 20; ++i) total += term(i);
    return total;
  });
  std::printf("   %-36s %8.3f ms, %8.3f MB sent\n", what, seconds * 1e3, (sent() - before) / 1e6);
  return sum;
}

bool moving_data(std::size_t n) {
  std::printf("3. Moving data costs more than calling: 20 calls that each read %zu numbers.\n", n);
  const muster::Pid worker = muster::workers().front();
  const Vector numbers = count_to(n);
  const double here = measured("computed here", [&](double factor) { return scaled_sum(numbers, factor); });
  const double badly = measured("badly: sent with every call", [&](double factor) {
    return muster::remotecall_fetch(scaled_sum, worker, numbers, factor);
  });
  const auto kept = muster::spawnat(worker, [](Vector sent) { return sent; }, numbers);  // the result stays there
  const double well = measured("well: sent once, then by Future", [&](double factor) {
    return muster::remotecall_fetch(scaled_sum_of_kept, worker, kept, factor);
  });
  const auto made = muster::spawnat(worker, count_to, n);
  const double best = measured("best: made where it is needed", [&](double factor) {
    return muster::remotecall_fetch(scaled_sum_of_kept, worker, made, factor);
  });
  const Vector all = muster::pmap(muster::bind_front(scaled_sum, numbers), count_to(20));  // once to each worker
  const double mapped = std::accumulate(all.begin(), all.end(), 0.0);
  return check("all ways agree", badly == here && well == here && best == here && mapped == here);
}

bool map_and_reduce(std::size_t terms) {
  std::printf("4. pmap hands out elements to whoever is free; distributed_reduce splits a range evenly.\n");
  const std::vector<std::string> texts{"2", "three", "5"};
  const auto parse = [](const std::string& text) { return std::stoi(text); };
  const auto instead = [](const std::exception_ptr&) { return -1; };
  const std::vector<int> parsed = muster::pmap(parse, texts, muster::PmapOptions{.on_error = instead});
  const auto term = [](std::size_t k) { return 1 / (static_cast<double>(k) * static_cast<double>(k)); };
  const double sum = muster::distributed_reduce(std::plus<>{}, muster::IndexRange{1, terms + 1}, term);
  const double pi = std::sqrt(6 * sum);
  std::printf("   1 + 1/4 + 1/9 + ... makes pi about %.6f\n", pi);
  const bool pi_right = std::abs(pi - std::numbers::pi) < 2 / static_cast<double>(terms);
  return check("\"three\" became -1, and pi is right", parsed == std::vector<int>{2, -1, 5} && pi_right);
}

bool errors() {
  std::printf("5. What a task throws, fetch throws here.\n");
  try {
    muster::spawn([](std::size_t i) { return count_to(3).at(i); }, std::size_t{7}).fetch();
  } catch (const muster::RemoteException& error) {
    std::printf("   on worker %d: %s: %s\n", error.pid(), error.type_name().c_str(), error.message().c_str());
    return check("it is known to be an out_of_range", error.is<std::out_of_range>());
  }
  return check("it threw", false);
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);  // does not return in a worker, which is this same program
  CLI::App app("A tour of Muster");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  example::start_workers(options);
  std::printf("This is process %d; the workers are", muster::myid());
  for (const muster::Pid worker : muster::workers()) std::printf(" %d", worker);
  std::printf(".\n");

  const std::size_t size = options.quick ? 100'000 : 2'000'000;
  bool right = calls_and_futures();
  right = all_processes() && right;
  right = moving_data(size) && right;
  right = map_and_reduce(10 * size) && right;
  right = errors() && right;
  std::puts(right ? "All is as it should be." : "Something is WRONG.");
  return right ? 0 : 1;
}
