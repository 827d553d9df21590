// Modules between processes, as messages. All processes of these tests are this program, so a module that one lacks is
// one that none has; the peer that has it is played.

#include "runtime/calls/calls.hpp"
#include "runtime/code/elf_file.hpp"
#include "runtime/code/modules.hpp"
#include "runtime/wire/module_message.hpp"
#include "tests/runtime/calls/process_pieces.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace muster::runtime {
namespace {

using detail::Payload;

std::shared_ptr<const std::vector<std::byte>> plugin(const std::string& name) {
  std::ifstream in(MUSTER_PLUGINS "/lib" + name + ".so", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
}

/// A peer that is only its messages.
class PlayedPeer final : private TransportSink {
 public:
  explicit PlayedPeer(MemoryHub& hub) : transport_(std::make_unique<MemoryLane>(hub), *this, {}) {}

  void connect(PieceOfProcess& other, Pid self) {
    link_ = transport_.dial(other.lane().endpoint());
    transport_.admit(*link_, other.self());
    send({.kind = MessageKind::hello, .number = static_cast<std::uint64_t>(self)});
  }
  void send(const Header& header, Payload payload = {}) { transport_.send(*link_, header, std::move(payload)); }
  void define(std::uint64_t module, std::uint64_t offset) {
    Payload payload;
    FieldWriter out(payload.bytes);
    out.u64(module);
    out.u64(offset);
    send({.kind = MessageKind::define_code, .code = next_code_++}, std::move(payload));
  }
  void refuse(std::uint64_t module, const std::string& why) {
    Payload payload;
    FieldWriter(payload.bytes).text(why);
    send({.kind = MessageKind::module, .flags = module_refused, .number = module}, std::move(payload));
  }
  void give(std::uint64_t module, const std::shared_ptr<const std::vector<std::byte>>& file) {
    ModuleImage image;
    image.name = "libgiven.so";
    image.bytes = *file;
    image.owner = file;
    send({.kind = MessageKind::module, .number = module}, encode(image));
  }
  /// The next message of that kind.
  Incoming receive(MessageKind kind) {
    const auto deadline = Clock::now() + patience;
    for (;;) {
      for (auto message = received_.begin(); message != received_.end(); ++message) {
        if (message->header.kind != kind) continue;
        Incoming found = std::move(*message);
        received_.erase(message);
        return found;
      }
      if (Clock::now() > deadline) throw std::runtime_error("no such message came");
      pump();
    }
  }
  void pump() {
    transport_.wait(Clock::now() + std::chrono::milliseconds(10));
    while (transport_.receive_some(100)) {
    }
  }
  std::size_t count(MessageKind kind) const {
    return static_cast<std::size_t>(std::count_if(received_.begin(), received_.end(),
                                                  [&](const Incoming& each) { return each.header.kind == kind; }));
  }

 private:
  void on_message(Incoming message) override { received_.push_back(std::move(message)); }
  void on_lost(const std::shared_ptr<Link>& /*link*/, const std::string& /*reason*/) override {}

  std::deque<Incoming> received_;
  Transport transport_;
  std::shared_ptr<Link> link_;
  std::uint32_t next_code_ = 0;
};

constexpr std::uint64_t nowhere = 0x1234;  ///< a module that nobody has

std::string text_of(const Incoming& failure) {
  const auto bytes = failure.payload.bytes.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class CallsCode : public testing::Test {
 protected:
  CallsCode() { peer.connect(process, 8); }
  MemoryHub hub;
  PieceOfProcess process{hub, 2};
  PlayedPeer peer{hub};
};

TEST_F(CallsCode, ARefusalFailsTheCallsWithItsText) {
  peer.define(nowhere, 16);
  for (std::uint64_t number = 1; number <= 3; ++number) peer.send({.kind = MessageKind::call, .number = number});
  EXPECT_EQ(peer.receive(MessageKind::module_request).header.number, nowhere);
  peer.refuse(nowhere, "it was lost");
  for (int i = 0; i < 3; ++i) {
    const auto text = text_of(peer.receive(MessageKind::reply_failure));
    EXPECT_NE(text.find("process 8: it was lost"), std::string::npos) << text;
  }
  EXPECT_EQ(peer.count(MessageKind::module_request), 0U);
  // The next call tries again.
  peer.send({.kind = MessageKind::call, .number = 4});
  EXPECT_EQ(peer.receive(MessageKind::module_request).header.number, nowhere);
}

TEST_F(CallsCode, AModuleThatComesReleasesWhatWaited) {
  const auto file = plugin("late");
  const auto id = read_elf_file(*file).id;
  const bool known = modules().has(id);
  ASSERT_FALSE(known) << "another test of this program has loaded it";
  peer.define(id, 1);  // inside no code: what matters is that it is looked for
  peer.send({.kind = MessageKind::call, .number = 1});
  EXPECT_EQ(peer.receive(MessageKind::module_request).header.number, id);
  peer.give(id, file);
  const auto text = text_of(peer.receive(MessageKind::reply_failure));
  EXPECT_NE(text.find("not inside its code"), std::string::npos) << text;
  EXPECT_TRUE(modules().has(id));
}

TEST_F(CallsCode, WhileItWaitsACallCanBeCancelled) {
  peer.define(nowhere, 16);
  peer.send({.kind = MessageKind::call, .number = 1});
  (void)peer.receive(MessageKind::module_request);
  peer.send({.kind = MessageKind::cancel, .number = 1});
  (void)peer.receive(MessageKind::reply_failure);
  peer.refuse(nowhere, "no");
  peer.send({.kind = MessageKind::call, .number = 2});
  (void)peer.receive(MessageKind::module_request);
  EXPECT_EQ(peer.count(MessageKind::reply_failure), 0U);  // it was answered once
}

TEST_F(CallsCode, WhenItsOnlyHolderIsGoneTheCallsEnd) {
  PlayedPeer other(hub);
  other.connect(process, 9);
  peer.define(nowhere, 16);
  peer.send({.kind = MessageKind::call, .number = 1});
  (void)peer.receive(MessageKind::module_request);
  // Another caller names it too, and waits for the same.
  other.define(nowhere, 16);
  other.send({.kind = MessageKind::call, .number = 1});
  ASSERT_TRUE(eventually([&] { return process.calls().kept().tasks == 2; }));
  process.lose(8);
  EXPECT_EQ(other.receive(MessageKind::module_request).header.number, nowhere);  // it is asked next
  process.lose(9);
  EXPECT_TRUE(eventually([&] { return process.calls().kept().tasks == 0; }));
}

TEST_F(CallsCode, WhoHasItNotSaysSo) {
  peer.send({.kind = MessageKind::module_request, .number = nowhere});
  const auto answer = peer.receive(MessageKind::module);
  EXPECT_EQ(answer.header.flags, module_refused);
  EXPECT_NE(text_of(answer).find("not loaded"), std::string::npos);
}

TEST_F(CallsCode, WhoWaitsForItLetsOthersWaitUntilItDisappoints) {
  PlayedPeer other(hub);
  other.connect(process, 9);
  peer.define(nowhere, 16);
  peer.send({.kind = MessageKind::call, .number = 1});
  (void)peer.receive(MessageKind::module_request);
  // Who was asked, and asks back, is not kept waiting: the two would wait for each other.
  peer.send({.kind = MessageKind::module_request, .number = nowhere});
  EXPECT_EQ(peer.receive(MessageKind::module).header.flags, module_refused);
  other.send({.kind = MessageKind::module_request, .number = nowhere});
  other.define(nowhere, 16);
  other.send({.kind = MessageKind::call, .number = 1});
  ASSERT_TRUE(eventually([&] { return process.calls().kept().tasks == 2; }));
  other.pump();
  EXPECT_EQ(other.count(MessageKind::module), 0U);
  peer.refuse(nowhere, "no");
  EXPECT_EQ(other.receive(MessageKind::module).header.flags, module_refused);
}

TEST_F(CallsCode, WhatWasNotAskedForClosesItsPeer) {
  peer.give(nowhere, plugin("large"));
  EXPECT_NE(process.reason_of_loss(8).find("not asked for"), std::string::npos);
}

TEST_F(CallsCode, AnotherModuleThanAskedForClosesItsPeer) {
  peer.define(nowhere, 16);
  peer.send({.kind = MessageKind::call, .number = 1});
  (void)peer.receive(MessageKind::module_request);
  peer.give(nowhere, plugin("large"));
  EXPECT_NE(process.reason_of_loss(8).find("not the one"), std::string::npos);
}

TEST_F(CallsCode, WhatIsNoModuleClosesItsPeer) {
  peer.define(nowhere, 16);
  peer.send({.kind = MessageKind::call, .number = 1});
  (void)peer.receive(MessageKind::module_request);
  peer.give(nowhere, std::make_shared<const std::vector<std::byte>>(5000));
  EXPECT_NE(process.reason_of_loss(8).find("no ELF file"), std::string::npos);
}

}  // namespace
}  // namespace muster::runtime
