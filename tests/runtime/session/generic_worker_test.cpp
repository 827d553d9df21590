/// @file
/// What `muster-worker` believes, and what it does not.
#include "runtime/session/generic_worker.hpp"

#include "runtime/base/host_name.hpp"
#include "runtime/base/random.hpp"
#include "runtime/cluster/host_identity.hpp"
#include "runtime/session/program_fetch.hpp"
#include "runtime/transport/zmq/zmq_lane.hpp"

#include <muster/errors.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

namespace muster::runtime {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// A directory of the test's own, which is the user's cache too; gone at its end.
class Folder {
 public:
  Folder() : path_(fs::path(::testing::TempDir()) / ("generic-worker-" + random_token(8))) {
    fs::create_directories(path_);
    ::setenv("XDG_CACHE_HOME", (path_ / "cache").c_str(), 1);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    ::unsetenv("XDG_CACHE_HOME");
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    const std::string path = path_ / name;
    std::ofstream(path) << text;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  /// What lies in the cache: files of the copies, and nothing but them.
  std::vector<std::string> cached() const {
    std::vector<std::string> names;
    if (!fs::exists(path_ / "cache")) return names;
    for (const auto& entry : fs::recursive_directory_iterator(path_ / "cache"))
      if (entry.is_regular_file() && entry.path().extension() != ".lock") names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  fs::path path_;
};

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A master that gives those files away, over a real connection.
class Giver {
 public:
  /// @param change what becomes of an answer before it is proved; false: the connection is closed in its place
  using Change = std::function<bool(ProgramPart& part)>;
  explicit Giver(std::vector<ListedFile> files, Change change = {}, std::string cookie = "cookie")
      : list_{.system = system_here(), .arguments = {"--muster-worker"}, .environment = {}, .files = std::move(files)},
        change_(std::move(change)),
        cookie_(std::move(cookie)),
        thread_([this] { serve(); }) {}
  ~Giver() {
    over_ = true;
    lane_.kick();
    thread_.join();
  }
  Giver(const Giver&) = delete;
  Giver& operator=(const Giver&) = delete;
  ProgramSource source() const {
    return {.endpoint = lane_.endpoint(), .cookie = "cookie", .ticket = "t", .patience = 10s};
  }
  int parts() const { return parts_; }

 private:
  void serve() {
    LaneEvent event;
    for (; !over_; lane_.wait(Clock::now() + 100ms))
      while (lane_.receive(event))
        if (event.kind == LaneEvent::Kind::message) answer(event);
  }
  void answer(const LaneEvent& event) {
    const FrameView view = read_frame({event.frames[0].data, event.frames[0].size}, longest_frame);
    const ProgramRequest request = decode_program_request(view.inline_bytes);
    verify(request, "cookie");
    EXPECT_EQ(request.ticket, "t");
    ProgramPart part{.file = request.file, .offset = request.offset, .proof = {}, .contents = {}};
    if (request.file == list_of_files) {
      const detail::Payload list = encode(list_);
      part.contents.assign(list.bytes.data(), list.bytes.data() + list.bytes.size());
    } else {
      ++parts_;
      part.contents = read_program_part(list_.files, request.file, request.offset);
    }
    if (change_ && !change_(part)) {
      lane_.close(event.link);
      return;
    }
    seal(part, request.nonce, cookie_);
    lane_.send(event.link, Header{.kind = MessageKind::program}, encode(part));
  }

  ZmqLane lane_{"127.0.0.1"};
  const ProgramList list_;
  const Change change_;
  const std::string cookie_;
  std::atomic<bool> over_{false};
  std::atomic<int> parts_{0};
  std::thread thread_;
};

/// A file that is nowhere but at its source.
ListedFile listed(const std::string& source) {
  ListedFile file;
  file.file.path = "/no/such/place/" + name_of_file(source);
  file.file.source = source;
  file.file.build_id = std::string(40, 'b');
  file.contents = hash_of_file(source);
  return file;
}

/// The list, and what it takes to run what is in it.
ReadyProgram fetched(const Giver& giver) {
  ZmqLane lane("127.0.0.1");
  ProgramFetch master(lane, giver.source());
  const ProgramList list = master.list();
  return make_ready(master, list);
}

std::string large_text() {
  std::string text;
  for (int i = 0; text.size() < 5 * program_part_size / 2; ++i) text += std::to_string(i) + ",";
  return text;
}

TEST(GenericWorker, AProgramComesWholeWithItsLibrariesAndOnlyOnce) {
  const Folder folder;
  const std::string text = large_text();
  const Giver giver({listed(folder.write("program", text)), listed(folder.write("lib.so", "library"))});
  const ReadyProgram ready = fetched(giver);
  EXPECT_EQ(text_of(ready.program), text);
  EXPECT_EQ(text_of(ready.libraries + "/lib.so"), "library");
  EXPECT_THAT(folder.cached(), ElementsAre("lib.so", "program"));
  struct stat facts{};
  ASSERT_EQ(::stat(ready.libraries.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0700U) << "nobody else may change what is run";
  ASSERT_EQ(::stat(ready.program.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0700U);
  EXPECT_EQ(giver.parts(), 4);
  EXPECT_EQ(fetched(giver).program, ready.program);
  EXPECT_EQ(giver.parts(), 4) << "the copy in the cache serves again";
}

TEST(GenericWorker, ACopyThatWasChangedIsNotRun) {
  const Folder folder;
  const Giver giver({listed(folder.write("program", "the program"))});
  const ReadyProgram first = fetched(giver);
  std::ofstream(first.program) << "the pr0gram";
  EXPECT_EQ(text_of(fetched(giver).program), "the program");
  EXPECT_EQ(giver.parts(), 2);
}

TEST(GenericWorker, WhatAKilledOneLeftUnfinishedGoes) {
  const Folder folder;
  const Giver giver({listed(folder.write("program", "the program"))});
  const std::filesystem::path copy = std::filesystem::path(fetched(giver).program).parent_path();
  const std::string unfinished = copy.string() + ".unfinished-" + host_name();
  std::filesystem::rename(copy, unfinished);
  std::ofstream(unfinished + "/program") << "the pr";
  EXPECT_EQ(text_of(fetched(giver).program), "the program");
  EXPECT_FALSE(std::filesystem::exists(unfinished));
}

TEST(GenericWorker, WhatIsHereAlreadyIsNotFetched) {
  const Folder folder;
  ListedFile program = listed(folder.write("program", "the program"));
  program.file.path = program.file.source;
  ListedFile of_system = listed("/bin/sh");
  of_system.file.path = "/bin/sh";
  of_system.file.of_system = true;
  of_system.contents = {};  // another version of it
  const Giver giver({program, of_system});
  const ReadyProgram ready = fetched(giver);
  EXPECT_EQ(ready.program, program.file.path);
  EXPECT_EQ(ready.libraries, "");
  EXPECT_EQ(giver.parts(), 0);
}

TEST(GenericWorker, AConnectionThatIsLostOnTheWayIsMadeAnew) {
  const Folder folder;
  const std::string text = large_text();
  int answers = 0;
  const Giver giver({listed(folder.write("program", text))}, [&](ProgramPart&) { return ++answers != 3; });
  EXPECT_EQ(text_of(fetched(giver).program), text);
  const Giver mute({listed(folder.write("program", "another"))}, [&](ProgramPart&) { return false; });
  EXPECT_THAT([&] { (void)fetched(mute); }, ThrowsMessage<Error>(HasSubstr("does not come about")));
}

TEST(GenericWorker, NothingIsTakenFromWhoDoesNotKnowTheCookie) {
  const Folder folder;
  const Giver giver({listed(folder.write("program", "the program"))}, {}, "another cookie");
  EXPECT_THAT([&] { (void)fetched(giver); }, ThrowsMessage<AuthError>(HasSubstr("cookie")));
  EXPECT_TRUE(folder.cached().empty());
}

TEST(GenericWorker, NothingDamagedOrCutShortIsKept) {
  const Folder folder;
  const std::string source = folder.write("program", "the program");
  const auto change_contents = [](ProgramPart& part) {
    if (part.file == 0) part.contents[0] ^= std::byte{1};
    return true;
  };
  const Giver damaging({listed(source)}, change_contents);
  EXPECT_THAT([&] { (void)fetched(damaging); }, ThrowsMessage<Error>(HasSubstr("came damaged")));
  const Giver cutting({listed(source)}, [](ProgramPart& part) {
    if (part.file == 0) part.contents.pop_back();
    return true;
  });
  EXPECT_THAT([&] { (void)fetched(cutting); }, ThrowsMessage<HandshakeError>(HasSubstr("another size")));
  EXPECT_TRUE(folder.cached().empty());
}

TEST(GenericWorker, AnAnswerIsGoodForItsOwnQuestionOnly) {
  ProgramPart part{.file = 0, .offset = 0, .proof = {}, .contents = std::vector<std::byte>(3)};
  Nonce nonce{}, other{};
  random_bytes(nonce);
  random_bytes(other);
  seal(part, nonce, "cookie");
  EXPECT_NO_THROW(verify(part, nonce, "cookie"));
  EXPECT_THROW(verify(part, other, "cookie"), AuthError);
  EXPECT_THROW(verify(part, nonce, "biscuit"), AuthError);
  part.offset = 1;
  EXPECT_THROW(verify(part, nonce, "cookie"), AuthError);
  ProgramRequest request;
  seal(request, "cookie");
  EXPECT_NO_THROW(verify(request, "cookie"));
  request.file = 3;
  EXPECT_THROW(verify(request, "cookie"), AuthError);
}

TEST(GenericWorker, AHostOfAnotherKindIsToldBeforeAnythingIsFetched) {
  const Folder folder;
  const Giver giver({listed(folder.write("program", "the program"))});
  ZmqLane lane("127.0.0.1");
  ProgramFetch master(lane, giver.source());
  ProgramList list = master.list();
  list.system = "Linux s390x";
  EXPECT_THAT([&] { (void)make_ready(master, list); },
              ThrowsMessage<Error>(AllOf(HasSubstr("another kind"), HasSubstr("Linux s390x"))));
  EXPECT_EQ(giver.parts(), 0);
}

TEST(GenericWorker, AListMayNotNameFilesElsewhere) {
  for (const char* const path : {"relative", "/", "/some/..", "/some/.", ""}) {
    ProgramList list{.system = "x", .arguments = {}, .environment = {}, .files = std::vector<ListedFile>(1)};
    list.files[0].file.path = path;
    const detail::Payload encoded = encode(list);
    EXPECT_THROW((void)decode_program_list(encoded.bytes.bytes()), SerializationError) << path;
  }
}

TEST(GenericWorker, AKeyIsReadOnlyWhereNobodyElseMayReadIt) {
  const Folder folder;
  EXPECT_EQ(read_key(folder.write("key", "secret\nmore\n")), "secret");
  EXPECT_THAT([&] { (void)read_key(folder.write("open", "secret\n", 0644)); },
              ThrowsMessage<Error>(AllOf(HasSubstr("chmod 600"), HasSubstr("open"))));
  EXPECT_THAT([&] { (void)read_key(folder.write("group", "secret\n", 0640)); },
              ThrowsMessage<Error>(HasSubstr("others may read")));
  EXPECT_THAT([&] { (void)read_key(folder.write("empty", "\n")); }, ThrowsMessage<Error>(HasSubstr("no key")));
  EXPECT_THAT([&] { (void)read_key("/no/such/key"); }, ThrowsMessage<Error>(HasSubstr("/no/such/key")));
}

TEST(GenericWorker, TheMasterIsWhereTheCommandLineSaysElseWhereTheKeyDoes) {
  StartRecord record;
  EXPECT_THAT([&] { (void)endpoints_of(record, {}); }, ThrowsMessage<Error>(HasSubstr("secret_file")));
  record.call_back.endpoints = {"10.1.2.3:7777", "10.1.3.3:7777"};
  record.call_back.own_endpoint = "127.0.0.1:5555";
  record.master_host = "elsewhere";
  EXPECT_THAT(endpoints_of(record, {}), ElementsAre("10.1.2.3:7777", "10.1.3.3:7777"));
  EXPECT_THAT([&] { (void)endpoints_of(record, "127.0.0.1:7777"); }, ThrowsMessage<Error>(HasSubstr("host itself")));
  EXPECT_THAT([&] { (void)endpoints_of(record, "10.9.9.9"); }, ThrowsMessage<Error>(HasSubstr("HOST:PORT")));
  EXPECT_THAT(endpoints_of(record, "10.9.9.9:1"), ElementsAre("10.9.9.9:1"));
  EXPECT_THAT(record.call_back.endpoints, ElementsAre("10.9.9.9:1")) << "the worker itself connects there too";
  record.master_host = host_identity();
  EXPECT_THAT(endpoints_of(record, "127.0.0.1:7777"), ElementsAre("127.0.0.1:5555", "10.9.9.9:1"));
}

TEST(GenericWorker, ItsCommandLine) {
  const auto options = read_generic_worker_options({"--connect", "h:1", "--key-file=/k", "--bind", "10.0.0.1"});
  EXPECT_EQ(options.connect, "h:1");
  EXPECT_EQ(options.key_file, "/k");
  EXPECT_EQ(options.bind, "10.0.0.1");
  EXPECT_TRUE(read_generic_worker_options({"--help"}).help);
  EXPECT_THAT([] { (void)read_generic_worker_options({"--conect", "h:1"}); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("--conect")));
  EXPECT_THAT([] { (void)read_generic_worker_options({"--connect"}); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("needs a value")));
}

}  // namespace
}  // namespace muster::runtime
