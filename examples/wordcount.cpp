/// @file
/// The words used most often in the licences, copyright files and package descriptions of this Debian system.
///
/// Each chunk of text goes to a worker and comes back as a table of counts. The order does not matter, so
/// `pmap_unordered` hands the tables over as they are ready, and the master merges them while the workers count on.
#include "example.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using Counts = std::unordered_map<std::string, std::size_t>;

/// Counts the words, in lower case. A word is letters only, but for punctuation around it: no paths, no numbers.
Counts count_words(const std::string& text) {
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  Counts counts;
  std::istringstream tokens(text);
  for (std::string token; tokens >> token;) {
    token.erase(token.begin(), std::ranges::find_if(token, is_letter));
    while (!token.empty() && !is_letter(token.back())) token.pop_back();
    if (token.empty() || !std::ranges::all_of(token, is_letter)) continue;
    for (char& letter : token) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    ++counts[token];
  }
  return counts;
}

void merge(Counts& total, const Counts& part) {
  for (const auto& [word, count] : part) total[word] += count;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The descriptions in the package database: what follows "Description:", with the indented lines below it.
std::string package_descriptions() {
  std::ifstream database("/var/lib/dpkg/status");
  std::string text;
  bool inside = false;
  for (std::string line; std::getline(database, line);) {
    const bool begins = line.starts_with("Description:");
    inside = begins || (inside && line.starts_with(' '));
    if (inside) text += line.substr(begins ? 12 : 0) + '\n';
  }
  return text;
}

std::string all_text(bool quick) {
  std::string text = package_descriptions();
  for (const auto& entry : std::filesystem::directory_iterator("/usr/share/common-licenses")) {
    if (!entry.is_symlink()) text += read_file(entry.path()) + '\n';
  }
  if (quick) return text;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/share/doc")) {
    text += read_file(entry.path() / "copyright") + '\n';
  }
  return text;
}

/// Cuts a text after line ends, into chunks of at least `size` bytes.
std::vector<std::string> cut(const std::string& text, std::size_t size) {
  std::vector<std::string> chunks;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin + size), text.size() - 1) + 1;
    chunks.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return chunks;
}

std::vector<std::pair<std::string, std::size_t>> most_frequent(const Counts& counts, std::size_t how_many) {
  std::vector<std::pair<std::string, std::size_t>> words(std::min(how_many, counts.size()));
  const auto more_frequent = [](const auto& a, const auto& b) {
    return std::pair(b.second, a.first) < std::pair(a.second, b.first);
  };
  std::ranges::partial_sort_copy(counts, words, more_frequent);
  return words;
}

}  // namespace

int main(int argc, char** argv) {
  const muster::Session session(argc, argv);
  CLI::App app("Counts the words of the texts on this system");
  const example::Options options(app);
  CLI11_PARSE(app, argc, argv);

  const std::vector<std::string> chunks = cut(all_text(options.quick), options.quick ? 16'384 : 262'144);

  const auto [expected, serial_seconds] = example::timed([&] {
    Counts total;
    for (const std::string& chunk : chunks) merge(total, count_words(chunk));
    return total;
  });

  example::start_workers(options);
  const auto [total, parallel_seconds] = example::timed([&] {
    Counts merged;
    for (auto&& [index, counts] : muster::pmap_unordered(count_words, chunks)) merge(merged, counts);
    return merged;
  });

  std::printf("%zu different words in %zu chunks of text\n", total.size(), chunks.size());
  for (const auto& [word, count] : most_frequent(total, 10)) std::printf("%9zu %s\n", count, word.c_str());
  return example::conclude(serial_seconds, parallel_seconds, total == expected && !total.empty());
}
