// Decodes whatever comes as one of a set of types. The outcome must be a value or a SerializationError.

#include <muster/callable.hpp>
#include <muster/detail/fixed_size.hpp>

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

namespace {

using namespace muster::detail;

enum class Colour : std::uint8_t { red, green };

struct Plain {
  double x = 0;
  bool flag = false;
  Colour colour = Colour::red;
  int list[3]{};
};

struct Base {
  int number = 0;
  std::string name;
};

struct Derived : Base {
  std::vector<Plain> list;
  std::optional<std::string> text;
};

struct Tree {
  std::string name;
  std::vector<Tree> branches;
  std::map<int, Tree> others;
  std::unique_ptr<Tree> one;
};

/// May form cycles, which nothing but themselves then keeps: all that live are known, so that the fuzzer finds no leak.
class Graph {
 public:
  Graph() { living().insert(this); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() { living().erase(this); }

  template <class A>
  void serialize(A& archive) {
    archive(number_, next_, parent_, name_);
  }
  static void break_cycles() {
    std::vector<std::shared_ptr<Graph>> loose;
    for (Graph* graph : living()) {
      for (auto& next : graph->next_) loose.push_back(std::move(next));
    }
  }

 private:
  static std::set<Graph*>& living() {
    static std::set<Graph*> all;
    return all;
  }

  int number_ = 0;
  std::vector<std::shared_ptr<Graph>> next_;
  std::weak_ptr<Graph> parent_;
  std::shared_ptr<std::string> name_;
};

class User {
 public:
  template <class A>
  void serialize(A& archive) {
    std::size_t size = numbers_.size();
    archive(cereal::make_size_tag(size), text_);
    numbers_.resize(size);
    archive(cereal::binary_data(numbers_.data(), size), lists_);
  }

 private:
  std::string text_;
  std::vector<unsigned char> numbers_;
  std::list<std::vector<float>> lists_;
};

class Nothing {
 public:
  template <class A>
  void serialize(A&) {}
};

/// Reads a T, then writes what was read: that must work.
template <class T>
void decode_as(const Payload& payload) {
  try {
    reader_for<T> in(payload);
    const T value = decode<T>(in);
    in.finish();
    Payload again;
    writer_for<T> out(again);
    encode(out, value);
  } catch (const muster::SerializationError&) {
  }
}

using Decoder = void (*)(const Payload&);

constexpr Decoder decoders[] = {
    decode_as<std::string>,
    decode_as<std::vector<double>>,
    decode_as<std::vector<std::vector<std::string>>>,
    decode_as<std::vector<bool>>,
    decode_as<std::map<std::string, std::vector<int>>>,
    decode_as<std::unordered_map<int, std::set<std::string>>>,
    decode_as<std::variant<int, std::string, std::vector<Plain>>>,
    decode_as<std::tuple<std::optional<int>, std::shared_ptr<std::string>, std::shared_ptr<int>,
                         std::shared_ptr<std::string>>>,
    decode_as<std::vector<Plain>>,
    decode_as<Derived>,
    decode_as<Tree>,
    decode_as<std::shared_ptr<Tree>>,
    decode_as<User>,
    decode_as<std::vector<User>>,
    decode_as<std::vector<Nothing>>,
    decode_as<std::list<std::deque<std::monostate>>>,
    decode_as<std::priority_queue<int>>,
    decode_as<std::bitset<77>>,
    decode_as<std::array<std::optional<std::string>, 5>>,
    decode_as<int (*)(int)>,
    decode_as<std::shared_ptr<Graph>>,
    decode_as<std::pair<std::forward_list<short>, std::u16string>>,
    decode_as<muster::BoundFront<int (*)(int), std::string, std::vector<long double>>>,
    decode_as<bool>,
    decode_as<Colour>,
};

}  // namespace

/// The first byte chooses the type, the second how many large arrays there are and their size; the rest is the small
/// part.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t parts = data[1] % 3;
  Payload payload;
  payload.bytes.append(data + 2, size - 2);
  std::vector<std::vector<std::byte>> arrays;
  for (std::size_t i = 0; i < parts; ++i) {
    arrays.emplace_back(part_threshold + 8 * (data[1] / 3), static_cast<std::byte>(i));
    payload.parts.push_back({arrays.back().data(), arrays.back().size(), nullptr});
  }
  decoders[data[0] % std::size(decoders)](payload);
  Graph::break_cycles();
  return 0;
}
