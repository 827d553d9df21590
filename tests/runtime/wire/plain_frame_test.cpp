// The short way to read a frame says the same as the long one, or nothing.

#include "runtime/wire/codec.hpp"

#include <muster/errors.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace muster::runtime {
namespace {

using Bytes = std::vector<std::byte>;

Bytes frame_of(const Header& header, const detail::Payload& payload) {
  Bytes frame(frame_size(payload));
  write_frame(frame.data(), header, payload);
  return frame;
}

detail::Payload small_part(std::size_t size) {
  detail::Payload payload;
  for (std::size_t i = 0; i < size; ++i) *payload.bytes.extend(1) = static_cast<std::byte>(i);
  return payload;
}

/// Whether it was read; then as read_frame reads it.
bool read_alike(const Bytes& frame) {
  Header header;
  std::span<const std::byte> contents;
  if (!read_plain_frame(frame, header, contents)) return false;
  const FrameView view = read_frame(frame, ~std::uint64_t{0});
  EXPECT_EQ(header.kind, view.header.kind);
  EXPECT_EQ(header.flags, view.header.flags);
  EXPECT_EQ(header.code, view.header.code);
  EXPECT_EQ(header.number, view.header.number);
  EXPECT_EQ(header.deadline, view.header.deadline);
  EXPECT_EQ(header.stream, view.header.stream);
  EXPECT_TRUE(std::ranges::equal(contents, view.inline_bytes));
  EXPECT_TRUE(view.handles.empty() && view.part_sizes.empty());
  return true;
}

const Header full{.kind = MessageKind::call, .flags = 0x42, .code = 7, .number = ~std::uint64_t{5}, .deadline = -3};

TEST(PlainFrame, IsReadAsTheLongWayReadsIt) {
  for (const std::size_t size : {0U, 1U, 64U, 5000U}) EXPECT_TRUE(read_alike(frame_of(full, small_part(size)))) << size;
}

TEST(PlainFrame, OthersAreLeftToTheLongWay) {
  auto with_part = small_part(3), with_handle = small_part(3);
  const Bytes part(10);
  with_part.parts.push_back({part.data(), part.size(), nullptr});
  with_handle.handles.push_back(std::make_shared<detail::Handle>(detail::HandleKind::future, RemoteRefId{1, 2}, 3));
  Header in_pieces = full;
  in_pieces.stream = 1;
  EXPECT_FALSE(read_alike(frame_of(full, with_part)));
  EXPECT_FALSE(read_alike(frame_of(full, with_handle)));
  EXPECT_FALSE(read_alike(frame_of(in_pieces, small_part(3))));
}

TEST(PlainFrame, WhateverIsWrongIsNotRead) {
  const Bytes right = frame_of(full, small_part(20));
  for (std::size_t size = 0; size < right.size(); ++size)
    EXPECT_FALSE(read_alike(Bytes(right.begin(), right.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
  std::mt19937 random(3);
  int read = 0;
  for (int i = 0; i < 20'000; ++i) {
    Bytes wrong = right;
    wrong[random() % header_size] = static_cast<std::byte>(random());
    read += read_alike(wrong) ? 1 : 0;  // where read_frame refuses it, it throws
  }
  EXPECT_GT(read, 1000) << "of those where it is flags or a number that is another";
}

}  // namespace
}  // namespace muster::runtime
