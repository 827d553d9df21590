#include "runtime/code/elf_file.hpp"

#include "runtime/code/module_image.hpp"
#include "runtime/code/modules.hpp"

#include <muster/errors.hpp>
#include <muster/module.hpp>

#include <gtest/gtest.h>

#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace muster::runtime {
namespace {

using Bytes = std::vector<std::byte>;

std::string plugin(const std::string& name) { return MUSTER_PLUGINS "/lib" + name + ".so"; }

Bytes contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Reads bytes that lie in memory of just their size. @returns whether they are a module
bool is_module(std::span<const std::byte> bytes) {
  const auto exact = std::make_unique<std::byte[]>(bytes.size());
  if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
  try {
    (void)read_elf_file({exact.get(), bytes.size()});
    return true;
  } catch (const SerializationError&) {
    return false;
  }
}

TEST(ElfFile, SaysTheBuildIdThatTheLoaderSays) {
  const auto module = load_module(plugin("late"));
  const auto file = read_elf_file(contents(plugin("late")));
  EXPECT_EQ(file.build_id, module.build_id());
  EXPECT_TRUE(modules().has(file.id));
}

TEST(ElfFile, OneWithoutABuildIdIsAModuleWithoutAName) {
  const auto file = read_elf_file(contents(plugin("unnamed")));
  EXPECT_EQ(file.id, 0U);
  EXPECT_TRUE(file.build_id.empty());
}

TEST(ElfFile, WhatIsNoSharedLibraryForThisMachineIsRefused) {
  EXPECT_FALSE(is_module({}));
  EXPECT_FALSE(is_module(Bytes(4096)));
  const Bytes good = contents(plugin("late"));
  ASSERT_TRUE(is_module(good));
  const auto with = [&](std::size_t at, unsigned value) {
    Bytes changed = good;
    changed[at] = static_cast<std::byte>(value);
    return changed;
  };
  EXPECT_FALSE(is_module(with(EI_CLASS, ELFCLASS32)));
  EXPECT_FALSE(is_module(with(EI_DATA, ELFDATA2MSB)));
  EXPECT_FALSE(is_module(with(16, ET_EXEC)));
  EXPECT_FALSE(is_module(with(18, EM_SPARC)));
}

TEST(ElfFile, OneThatIsCutShortIsRefused) {
  const Bytes good = contents(plugin("late"));
  // What is behind the last mapped byte (section names and the like) may be missing, and nothing else.
  std::size_t least = 0;
  while (least < good.size() && !is_module(std::span(good).first(least))) ++least;
  EXPECT_GT(least, 1024U);
  for (std::size_t size = least; size < good.size(); size += 97)
    EXPECT_TRUE(is_module(std::span(good).first(size))) << size << " of " << good.size();
}

TEST(ElfFile, EveryWrongByteOfTheHeadIsRefusedOrRead) {
  const Bytes good = contents(plugin("late"));
  const std::size_t head = std::min<std::size_t>(good.size(), 1024);
  for (std::size_t at = 0; at < head; ++at) {
    for (const unsigned wrong : {1U, 0x80U, 0xffU}) {
      Bytes damaged = good;
      damaged[at] ^= static_cast<std::byte>(wrong);
      (void)is_module(damaged);  // a sanitizer sees what it reads
    }
  }
}

TEST(ModuleImage, IsReadAndSaysWhatItNeeds) {
  const auto base = load_module(plugin("base"), {.global = true});
  const auto late = load_module(plugin("large"));
  const auto base_id = read_elf_file(contents(plugin("base"))).id;
  const auto large_id = read_elf_file(contents(plugin("large"))).id;
  const auto image = read_module(large_id);
  EXPECT_EQ(image.name, "liblarge.so");
  EXPECT_FALSE(image.global);
  EXPECT_EQ(image.needs, std::vector{base_id});
  const auto file = contents(plugin("large"));
  EXPECT_TRUE(std::equal(image.bytes.begin(), image.bytes.end(), file.begin(), file.end()));
  EXPECT_TRUE(read_module(base_id).global);
  EXPECT_TRUE(read_module(base_id).needs.empty());
}

TEST(ModuleImage, LoadedFromBytesItIsAModuleThatCanBeReadAgain) {
  const Bytes file = contents(plugin("dying"));
  const auto id = read_elf_file(file).id;
  ASSERT_FALSE(modules().has(id));
  EXPECT_THROW((void)read_module(id), Error);
  ModuleImage image;
  image.name = "libdying.so";
  image.bytes = file;
  load_image(id, image);
  ASSERT_TRUE(modules().has(id));
  load_image(id, image);  // a second time does no harm
  const auto again = read_module(id);
  EXPECT_EQ(again.name, "libdying.so");
  EXPECT_TRUE(std::equal(again.bytes.begin(), again.bytes.end(), file.begin(), file.end()));
}

TEST(ModuleImage, WhatTheLoaderSaysNamesTheModule) {
  const Bytes file = contents(plugin("follower"));
  // base may be here already, by another test: then a damaged copy must fail.
  Bytes damaged(file.begin(), file.begin() + 200);
  ModuleImage image;
  image.name = "libdamaged.so";
  image.bytes = damaged;
  try {
    load_image(12345, image);
    ADD_FAILURE() << "it was loaded";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("libdamaged.so"), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("/proc/"), std::string::npos) << error.what();
  }
}

TEST(ModuleImage, WhatCameWithTheProgramIsNotSent) {
  const auto all = loaded_modules();
  ASSERT_FALSE(all.empty());
  EXPECT_TRUE(all.front().came_with_program);
  try {
    (void)read_module(all.front().id);
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("same build"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace muster::runtime
