// A ring's two ends: records in order, whatever their sizes; and a writer or reader that lies.

#include "runtime/transport/shm/ring.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace muster::runtime {
namespace {

struct Memory {
  RingControl control{};
  alignas(record_alignment) std::array<std::byte, ring_capacity> data{};
};

bool put(RingWriter& writer, const std::vector<std::byte>& contents, RecordKind kind = RecordKind::message) {
  std::byte* const room = writer.reserve(contents.size());
  if (room == nullptr) return false;
  if (!contents.empty()) std::memcpy(room, contents.data(), contents.size());
  writer.publish(kind);
  return true;
}

std::vector<std::byte> contents_of(std::size_t size, std::size_t seed) {
  std::vector<std::byte> contents(size);
  for (std::size_t i = 0; i < size; ++i) contents[i] = static_cast<std::byte>(seed * 31 + i);
  return contents;
}

class Ring : public testing::Test {
 protected:
  std::unique_ptr<Memory> memory_ = std::make_unique<Memory>();
  RingWriter writer_{&memory_->control, memory_->data.data()};
  RingReader reader_{&memory_->control, memory_->data.data()};
};

TEST_F(Ring, RecordsOfAllSizesPassInOrderManyTimesRound) {
  std::mt19937 random(7);
  std::size_t written = 0, read = 0;
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < 20'000; ++i) sizes.push_back(random() % (i % 7 == 0 ? longest_record + 1 : 200));
  while (read < sizes.size()) {
    while (written < sizes.size() && put(writer_, contents_of(sizes[written], written))) ++written;
    RingReader::Record record;
    for (std::size_t n = random() % 100 + 1; n != 0 && reader_.front(record); --n, ++read) {
      const auto expected = contents_of(sizes[read], read);
      ASSERT_EQ(std::vector<std::byte>(record.contents.begin(), record.contents.end()), expected) << read;
      reader_.pop();
    }
  }
  RingReader::Record none;
  EXPECT_FALSE(reader_.front(none));
}

TEST_F(Ring, ThreadsAtBothEndsAgree) {
  constexpr std::uint64_t count = 200'000;
  std::jthread writing([&] {
    for (std::uint64_t i = 0; i < count;) {
      std::byte* const room = writer_.reserve(sizeof i);
      if (room == nullptr) {
        std::this_thread::yield();
        continue;
      }
      std::memcpy(room, &i, sizeof i);
      writer_.publish(RecordKind::message);
      ++i;
    }
  });
  RingReader::Record record;
  for (std::uint64_t i = 0; i < count;) {
    if (!reader_.front(record)) {
      std::this_thread::yield();
      continue;
    }
    std::uint64_t value = 0;
    std::memcpy(&value, record.contents.data(), sizeof value);
    ASSERT_EQ(value, i++);
    reader_.pop();
  }
}

TEST_F(Ring, AFullRingTellsItsWriterOfRoomOnce) {
  while (put(writer_, contents_of(1000, 1))) {
  }
  EXPECT_FALSE(reader_.take_writer_waits());
  EXPECT_FALSE(writer_.ask_for_room(1000));
  RingReader::Record record;
  while (reader_.front(record)) reader_.pop();
  EXPECT_TRUE(reader_.take_writer_waits());
  EXPECT_FALSE(reader_.take_writer_waits());
  EXPECT_TRUE(writer_.ask_for_room(1000)) << "there is room by now";
  EXPECT_TRUE(put(writer_, contents_of(1000, 1)));
}

TEST_F(Ring, ALookTellsOfARecordAndOfAWriterThatWaits) {
  EXPECT_FALSE(reader_.anything());
  ASSERT_TRUE(put(writer_, contents_of(10, 1)));
  EXPECT_TRUE(reader_.anything());
  RingReader::Record record;
  ASSERT_TRUE(reader_.front(record));
  reader_.pop();
  EXPECT_FALSE(reader_.anything());
  (void)writer_.ask_for_room(10);
  EXPECT_TRUE(reader_.anything()) << "it is to be told of room";
}

TEST_F(Ring, WhatWasReadIsNotTakenForARecordTheNextTimeRound) {
  // Each line of the long ones could be a record's first, and becomes one as the short ones shift them.
  const std::vector<std::byte> ones(1000, std::byte{1}), few(10, std::byte{1});
  RingReader::Record record;
  for (std::size_t bytes = 0; bytes < 3 * ring_capacity; bytes += ones.size()) {
    for (const auto& contents : {ones, few}) {
      ASSERT_TRUE(put(writer_, contents));
      ASSERT_TRUE(reader_.front(record));
      ASSERT_EQ(record.contents.size(), contents.size());
      reader_.pop();
      ASSERT_FALSE(reader_.front(record)) << "after " << bytes << " bytes";
    }
  }
}

TEST_F(Ring, ImpossiblePositionsAndSizesAreErrors) {
  RingReader::Record record;
  const auto expect_error = [&](std::uint32_t size) {
    const std::array<std::uint32_t, 2> head{size, static_cast<std::uint32_t>(RecordKind::message)};
    std::memcpy(memory_->data.data(), head.data(), sizeof head);
    RingReader reader(&memory_->control, memory_->data.data());
    EXPECT_THROW((void)reader.front(record), SerializationError) << size;
  };
  expect_error(ring_capacity);
  expect_error(ring_capacity - 7);
  expect_error(~std::uint32_t{0});

  memory_->control.consumed = 1;
  RingWriter writer(&memory_->control, memory_->data.data());
  EXPECT_THROW((void)writer.ask_for_room(8), SerializationError) << "more read than written";
}

}  // namespace
}  // namespace muster::runtime
