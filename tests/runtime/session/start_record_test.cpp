/// @file
/// The line that a worker reads on its standard input.
#include "runtime/session/start_record.hpp"

#include <muster/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

namespace muster::runtime {
namespace {

StartRecord some_record() {
  StartRecord record;
  record.cookie = "secret \"words\" \\";
  record.bind_address = "::1";
  record.timeout = std::chrono::milliseconds(1234);
  record.max_message = std::uint64_t{1} << 40;
  record.encryption = Encryption::On;
  record.link_secret = "another secret";
  record.log_level = "debug";
  record.master_os_pid = 99;
  record.master_host = "host";
  return record;
}

TEST(StartRecord, IsOneLineThatTravelsWhole) {
  const std::string line = write_record(some_record());
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const StartRecord record = read_record(line);
  EXPECT_EQ(record.cookie, some_record().cookie);
  EXPECT_EQ(record.bind_address, "::1");
  EXPECT_EQ(record.timeout, std::chrono::milliseconds(1234));
  EXPECT_EQ(record.max_message, std::uint64_t{1} << 40);
  EXPECT_EQ(record.encryption, Encryption::On);
  EXPECT_EQ(record.link_secret, "another secret");
  EXPECT_EQ(record.log_level, "debug");
  EXPECT_EQ(record.master_os_pid, 99);
  EXPECT_EQ(record.master_host, "host");
}

TEST(StartRecord, SaysWhereToConnect) {
  StartRecord record = some_record();
  EXPECT_TRUE(read_record(write_record(record)).call_back.endpoints.empty());
  record.call_back = {{"10.0.0.1:7", "[::1]:7"}, "127.0.0.1:8", "a ticket", {"RANK"}};
  const CallBack read = read_record(write_record(record)).call_back;
  EXPECT_EQ(read.endpoints, record.call_back.endpoints);
  EXPECT_EQ(read.own_endpoint, "127.0.0.1:8");
  EXPECT_EQ(read.ticket, "a ticket");
  EXPECT_EQ(read.asked, record.call_back.asked);
  EXPECT_THROW((void)read_record(R"({"muster":1,"call":7})"), Error);
}

// catalogue: 171
TEST(StartRecord, AnotherVersionIsNamed) { EXPECT_THROW((void)read_record(R"({"muster":99})"), VersionMismatch); }

TEST(StartRecord, WhatIsNoneIsRefusedWithoutQuotingIt) {
  std::string wrong_level = write_record(some_record());
  wrong_level.replace(wrong_level.find("debug"), 5, "noisy");
  std::string wrong_encryption = write_record(some_record());
  wrong_encryption.replace(wrong_encryption.find("\"on\""), 4, "\"in\"");
  for (const std::string& line :
       {std::string(), std::string("secret"), std::string("{}"), std::string("[]"), std::string("{\"muster\":1}"),
        std::string("{\"muster\":1,\"cookie\":{}}"), std::string(1000, '['), wrong_level, wrong_encryption}) {
    try {
      (void)read_record(line);
      ADD_FAILURE() << "nothing was thrown for " << line;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("--muster-worker"));
      EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("secret")));
    }
  }
}

TEST(StartRecord, WaitsStayWithinWhatClocksCanHold) {
  StartRecord record = some_record();
  record.timeout = std::chrono::milliseconds::max();
  EXPECT_LE(read_record(write_record(record)).timeout, std::chrono::hours(24 * 366));
  record.timeout = std::chrono::milliseconds::min();
  EXPECT_GT(read_record(write_record(record)).timeout.count(), 0);
}

/// Standard input, replaced by a pipe that holds this.
class Input {
 public:
  explicit Input(const std::string& text, bool open = false) : before_(::dup(STDIN_FILENO)) {
    EXPECT_EQ(::pipe(ends_), 0);
    EXPECT_EQ(::write(ends_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    if (!open) ::close(std::exchange(ends_[1], -1));
    ::dup2(ends_[0], STDIN_FILENO);
  }
  ~Input() {
    ::dup2(before_, STDIN_FILENO);
    for (const int fd : {before_, ends_[0], ends_[1]})
      if (fd >= 0) ::close(fd);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  int before_;
  int ends_[2] = {-1, -1};
};

TEST(ReadLineOfStdin, TakesALineAndNoByteMore) {
  const Input input("the line\nrest");
  EXPECT_EQ(read_line_of_stdin(std::chrono::seconds(10)), "the line");
  char rest[8] = {};
  EXPECT_EQ(::read(STDIN_FILENO, rest, sizeof rest), 4);
  EXPECT_STREQ(rest, "rest");
}

TEST(ReadLineOfStdin, TakesWhatIsThereAtTheEnd) {
  const Input input("no newline");
  EXPECT_EQ(read_line_of_stdin(std::chrono::seconds(10)), "no newline");
  EXPECT_EQ(read_line_of_stdin(std::chrono::seconds(10)), "");
}

TEST(ReadLineOfStdin, GivesUp) {
  const Input input("half a line", true);
  EXPECT_THROW((void)read_line_of_stdin(std::chrono::milliseconds(20)), Error);
}

}  // namespace
}  // namespace muster::runtime
