#include "runtime/base/failure.hpp"

#include <muster/register_exception.hpp>

#include <gtest/gtest.h>

#include <cxxabi.h>

#include <algorithm>
#include <any>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <regex>
#include <system_error>
#include <thread>
#include <variant>

namespace {

using namespace muster;
using runtime::decode_failure;
using runtime::encode_failure;

// --- exceptions of a user --------------------------------------------------------------------------------------------

struct Unregistered : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct FromText : std::runtime_error {
  using std::runtime_error::runtime_error;
};
const bool from_text_registered = register_exception<FromText>();

class WithData : public std::exception {
 public:
  WithData() = default;
  WithData(int a_code, std::vector<double> some_values) : code(a_code), values(std::move(some_values)) {}
  const char* what() const noexcept override { return "with data"; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(code, values);
  }

  int code = 0;
  std::vector<double> values;
};

struct Plain {
  int code;
  std::string text;
};

struct Picky : std::runtime_error {
  explicit Picky(const std::string& text) : std::runtime_error(text) {
    if (text == "not here") throw std::logic_error("refused");
  }
};

struct SilentError : std::exception {
  const char* what() const noexcept override { return nullptr; }
};

// --- tools -----------------------------------------------------------------------------------------------------------

template <class E>
std::exception_ptr thrown(E error) {
  try {
    throw error;
  } catch (...) {
    return std::current_exception();
  }
}

/// What a fetcher gets of an exception that left a task of process `pid`.
std::exception_ptr fetched(const std::exception_ptr& exception, Pid pid = 3) {
  return decode_failure(encode_failure(exception, pid));
}

/// The exception as an E; a test fails where it is none.
template <class E>
E as(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const E& error) {
    if (typeid(error) != typeid(E)) ADD_FAILURE() << "it is a " << typeid(error).name();
    return error;
  } catch (...) {
    ADD_FAILURE() << "it is a " << abi::__cxa_current_exception_type()->name();
    throw;
  }
}

std::exception_ptr cause(const RemoteException& error) {
  try {
    error.rethrow_cause();
  } catch (...) {
    return std::current_exception();
  }
}

/// Sends the exception there and back, and returns what rethrow_cause() throws.
template <class E>
E through(const E& error) {
  const RemoteException remote = as<RemoteException>(fetched(thrown(error)));
  EXPECT_TRUE(remote.is<E>());
  EXPECT_EQ(remote.message(), error.what());
  return as<E>(cause(remote));
}

template <class E>
void expect_text_survives(const E& error) {
  EXPECT_STREQ(through(error).what(), error.what()) << typeid(E).name();
}

template <class... E>
void expect_texts_survive() {
  (expect_text_survives(E("the text")), ...);
}

template <class... E>
void expect_types_survive() {
  ((void)through(E()), ...);
}

// --- what a fetcher sees ---------------------------------------------------------------------------------------------

TEST(Failure, BecomesARemoteException) {
  const auto error = as<RemoteException>(fetched(thrown(std::out_of_range("index 7"))));
  EXPECT_EQ(error.pid(), 3);
  EXPECT_EQ(error.type_name(), "std::out_of_range");
  EXPECT_EQ(error.message(), "index 7");
  EXPECT_TRUE(std::string(error.what()).starts_with("On worker 3: std::out_of_range: index 7"));
  EXPECT_TRUE(error.is<std::out_of_range>());
  EXPECT_TRUE(error.is<std::logic_error>());
  EXPECT_TRUE(error.is<std::exception>());
  EXPECT_FALSE(error.is<std::runtime_error>());
  EXPECT_FALSE(error.is<int>());
}

TEST(Failure, OfTheMasterSaysSo) {
  EXPECT_STREQ(as<RemoteException>(fetched(std::make_exception_ptr(Error("x")), 1)).what(),
               "On worker 1: muster::Error: x");
}

TEST(Failure, OfAnyTypeArrives) {
  const auto number = as<RemoteException>(fetched(thrown(42)));
  EXPECT_EQ(number.type_name(), "int");
  EXPECT_EQ(number.message(), "");
  EXPECT_TRUE(number.is<int>());
  EXPECT_FALSE(number.is<std::exception>());
  EXPECT_TRUE(std::string(number.what()).starts_with("On worker 3: int"));
  as<RemoteException>(cause(number));

  const auto text = as<RemoteException>(fetched(thrown(std::string("a text"))));
  EXPECT_EQ(text.type_name(), "std::string");
  EXPECT_EQ(text.message(), "a text");
  const auto literal = as<RemoteException>(fetched(thrown("a literal")));
  EXPECT_EQ(literal.type_name(), "const char*");
  EXPECT_EQ(literal.message(), "a literal");
  EXPECT_TRUE(literal.is<const char*>());
  EXPECT_EQ(as<RemoteException>(fetched(thrown(SilentError()))).message(), "");
  EXPECT_EQ(as<RemoteException>(fetched(nullptr)).type_name(), "no exception");
}

TEST(Failure, ThatFetchersSeeAsItself) {
  EXPECT_STREQ(as<TimeoutError>(fetched(thrown(TimeoutError("late")))).what(), "late");
  EXPECT_STREQ(as<CancelledError>(fetched(thrown(CancelledError("no more")))).what(), "no more");
  EXPECT_STREQ(as<ChannelClosed>(fetched(thrown(ChannelClosed("shut")))).what(), "shut");
  const WorkerExit exit{.pid = 9,
                        .host = "h",
                        .expected = true,
                        .exit_status = 3,
                        .signal = {},
                        .last_output = "out",
                        .calls_in_flight = 5};
  const auto exited = as<ProcessExitedException>(fetched(thrown(ProcessExitedException(exit))));
  EXPECT_EQ(exited.what(), exit.describe());
  EXPECT_EQ(exited.pid(), 9);
  EXPECT_EQ(exited.exit().host, "h");
  EXPECT_TRUE(exited.exit().expected);
  EXPECT_EQ(exited.exit().exit_status, 3);
  EXPECT_EQ(exited.exit().signal, std::nullopt);
  EXPECT_EQ(exited.exit().last_output, "out");
  EXPECT_EQ(exited.exit().calls_in_flight, 5U);
}

TEST(Failure, OfATaskIsRemoteButForItsDeadlineAndItsCancellation) {
  const auto of_task = [](const std::exception_ptr& exception) {
    return decode_failure(encode_failure(exception, 3, runtime::FailureOrigin::task));
  };
  EXPECT_STREQ(as<TimeoutError>(of_task(thrown(TimeoutError("late")))).what(), "late");
  EXPECT_STREQ(as<CancelledError>(of_task(thrown(CancelledError("no more")))).what(), "no more");
  EXPECT_TRUE(as<RemoteException>(of_task(thrown(ChannelClosed("shut")))).is<ChannelClosed>());
  const WorkerExit exit{.pid = 9};
  EXPECT_TRUE(as<RemoteException>(of_task(thrown(ProcessExitedException(exit)))).is<ProcessExitedException>());
}

TEST(Failure, OfAnInterruptedTaskIsRemote) {
  const auto error = as<RemoteException>(fetched(thrown(InterruptedError("stop"))));
  EXPECT_TRUE(error.is<InterruptedError>());
  EXPECT_TRUE(error.is<Error>());
  EXPECT_FALSE(error.is<CancelledError>());
}

TEST(Failure, OfATypeDerivedFromTimeoutErrorIsRemote) {
  struct Mine : TimeoutError {
    using TimeoutError::TimeoutError;
  };
  EXPECT_TRUE(as<RemoteException>(fetched(thrown(Mine("x")))).is<TimeoutError>());
}

// --- the original type -----------------------------------------------------------------------------------------------

TEST(RethrowCause, KeepsStandardExceptions) {
  expect_texts_survive<std::logic_error, std::domain_error, std::invalid_argument, std::length_error, std::out_of_range,
                       std::runtime_error, std::range_error, std::overflow_error, std::underflow_error>();
  expect_types_survive<std::exception, std::bad_exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast,
                       std::bad_any_cast, std::bad_typeid, std::bad_weak_ptr, std::bad_function_call,
                       std::bad_optional_access, std::bad_variant_access>();
}

TEST(RethrowCause, KeepsCodes) {
  const auto future = through(std::future_error(std::future_errc::promise_already_satisfied));
  EXPECT_EQ(future.code(), std::future_errc::promise_already_satisfied);
  EXPECT_EQ(through(std::regex_error(std::regex_constants::error_paren)).code(), std::regex_constants::error_paren);

  for (const auto& error :
       {std::system_error(ENOENT, std::generic_category(), "opening"),
        std::system_error(EACCES, std::system_category()), std::system_error(ENOENT, std::generic_category(), ""),
        std::system_error(std::make_error_code(std::future_errc::no_state), "a: b")}) {
    const std::system_error back = through(error);
    EXPECT_EQ(back.code(), error.code());
    EXPECT_STREQ(back.what(), error.what());
  }
}

TEST(RethrowCause, KeepsPaths) {
  using std::filesystem::filesystem_error;
  const auto code = std::make_error_code(std::errc::permission_denied);
  for (const auto& error : {filesystem_error("copy", "/from", "/to", code), filesystem_error("open", "/a b", code),
                            filesystem_error("x", code)}) {
    const filesystem_error back = through(error);
    EXPECT_STREQ(back.what(), error.what());
    EXPECT_EQ(back.code(), code);
    EXPECT_EQ(back.path1(), error.path1());
    EXPECT_EQ(back.path2(), error.path2());
  }
}

TEST(RethrowCause, KeepsStreamFailures) {
  expect_text_survives(std::ios_base::failure("disk", std::make_error_code(std::io_errc::stream)));
  // What a stream itself throws is of a hidden type derived from it.
  try {
    std::ifstream file;
    file.exceptions(std::ios::failbit);
    file.open("/nowhere/at/all");
    FAIL();
  } catch (const std::ios_base::failure& original) {
    const auto remote = as<RemoteException>(fetched(std::current_exception()));
    EXPECT_EQ(remote.type_name(), "std::ios_base::failure");
    EXPECT_TRUE(remote.is<std::ios_base::failure>());
    EXPECT_STREQ(as<std::ios_base::failure>(cause(remote)).what(), original.what());
  }
}

class OtherCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "other"; }
  std::string message(int) const override { return "other trouble"; }
};

TEST(RethrowCause, ThrowsTheRemoteExceptionForUnknownTypes) {
  const auto remote = as<RemoteException>(fetched(thrown(Unregistered("what"))));
  EXPECT_TRUE(remote.is<Unregistered>());
  EXPECT_TRUE(remote.is<std::runtime_error>());
  EXPECT_EQ(as<RemoteException>(cause(remote)).what(), std::string(remote.what()));
  const OtherCategory category;
  as<RemoteException>(cause(as<RemoteException>(fetched(thrown(std::system_error(1, category, "x"))))));
}

TEST(RethrowCause, KeepsMustersOwn) {
  expect_texts_survive<Error, HandshakeError, CodeMismatch, AuthError, VersionMismatch, UnsafeCapture,
                       SerializationError, InterruptedError, NoSession>();
}

TEST(RethrowCause, KeepsACompositeAndItsMembers) {
  const auto inner = fetched(thrown(std::range_error("far")), 5);
  const CompositeException nested({thrown(std::bad_alloc())});
  const CompositeException composite({thrown(std::out_of_range("first")), inner, thrown(nested),
                                      thrown(Unregistered("mine")), thrown(TimeoutError("late")), nullptr, thrown(7)});
  const auto remote = as<RemoteException>(fetched(thrown(composite)));
  EXPECT_EQ(remote.message(), "first\n...and 6 more exceptions.");
  const auto back = as<CompositeException>(cause(remote));
  EXPECT_STREQ(back.what(), composite.what());
  ASSERT_EQ(back.exceptions().size(), 7U);
  EXPECT_STREQ(as<std::out_of_range>(back.exceptions()[0]).what(), "first");
  EXPECT_EQ(as<RemoteException>(back.exceptions()[1]).pid(), 5);
  as<std::range_error>(cause(as<RemoteException>(back.exceptions()[1])));
  as<std::bad_alloc>(as<CompositeException>(back.exceptions()[2]).exceptions().at(0));
  EXPECT_TRUE(as<RemoteException>(back.exceptions()[3]).is<Unregistered>());
  EXPECT_STREQ(as<TimeoutError>(back.exceptions()[4]).what(), "late");
  EXPECT_EQ(back.exceptions()[5], nullptr);
  EXPECT_TRUE(as<RemoteException>(back.exceptions()[6]).is<int>());
}

TEST(RethrowCause, KeepsALaunchError) {
  const LaunchFailure failure{.where = "host",
                              .cause = LaunchCause::handshake,
                              .exit_status = {},
                              .signal = SIGTERM,
                              .output = "o",
                              .message = "m",
                              .error = thrown(AuthError("cookie"))};
  const LaunchError error({failure, {}}, {2, 4});
  const auto back = through(error);
  EXPECT_STREQ(back.what(), error.what());
  EXPECT_EQ(back.joined(), error.joined());
  ASSERT_EQ(back.failures().size(), 2U);
  EXPECT_EQ(back.failures()[0].cause, LaunchCause::handshake);
  EXPECT_EQ(back.failures()[0].signal, SIGTERM);
  EXPECT_STREQ(as<AuthError>(back.failures()[0].error).what(), "cookie");
  EXPECT_EQ(back.failures()[1].error, nullptr);
}

TEST(RethrowCause, UnpacksOneProcessAfterTheOther) {
  const auto inner = as<RemoteException>(fetched(thrown(std::out_of_range("deep")), 3));
  const auto outer = as<RemoteException>(fetched(thrown(inner), 2));
  EXPECT_TRUE(std::string(outer.what())
                  .starts_with("On worker 2: muster::RemoteException: On worker 3: std::out_of_range: deep"));
  EXPECT_EQ(outer.pid(), 2);
  EXPECT_TRUE(outer.is<RemoteException>());
  EXPECT_FALSE(outer.is<std::out_of_range>());
  const auto once = as<RemoteException>(cause(outer));
  EXPECT_STREQ(once.what(), inner.what());
  EXPECT_EQ(once.pid(), 3);
  EXPECT_STREQ(as<std::out_of_range>(cause(once)).what(), "deep");
}

// --- registered types ------------------------------------------------------------------------------------------------

TEST(RegisterException, MakesItFromItsText) {
  EXPECT_TRUE(from_text_registered);
  expect_text_survives(FromText("mine"));
}

TEST(RegisterException, SerializesWhereItCan) {
  EXPECT_TRUE(register_exception<WithData>());
  EXPECT_TRUE(register_exception<WithData>());  // twice does no harm
  std::vector<double> values(3000, 1.5);        // large enough to leave the small part of a message
  values.back() = 2.5;
  const WithData back = through(WithData(7, values));
  EXPECT_EQ(back.code, 7);
  EXPECT_EQ(back.values, values);
}

TEST(RegisterException, TakesTypesThatAreNoStandardExceptions) {
  register_exception<Plain>();
  const auto remote = as<RemoteException>(fetched(thrown(Plain{4, "four"})));
  EXPECT_EQ(remote.message(), "");
  try {
    remote.rethrow_cause();
  } catch (const Plain& plain) {
    EXPECT_EQ(plain.code, 4);
    EXPECT_EQ(plain.text, "four");
  }
}

TEST(RegisterException, DoesNotSpeakForDerivedTypes) {
  struct Derived : FromText {
    using FromText::FromText;
  };
  const auto remote = as<RemoteException>(fetched(thrown(Derived("x"))));
  EXPECT_TRUE(remote.is<FromText>());
  as<RemoteException>(cause(remote));
}

TEST(RegisterException, SurvivesAConstructorThatThrows) {
  register_exception<Picky>();
  std::vector<std::byte> bytes = encode_failure(thrown(Picky("but here")), 2);
  as<Picky>(cause(as<RemoteException>(decode_failure(bytes))));
  // The other process refuses the text that this one accepted.
  const std::string_view here = "but here";
  const std::string_view there = "not here";
  const auto same = [](std::byte a, char b) { return std::to_integer<char>(a) == b; };
  for (auto at = bytes.begin(); (at = std::search(at, bytes.end(), here.begin(), here.end(), same)) != bytes.end();) {
    at = std::transform(there.begin(), there.end(), at, [](char c) { return std::byte(c); });
  }
  as<RemoteException>(cause(as<RemoteException>(decode_failure(bytes))));
}

TEST(RegisterException, IsForAnyThread) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 50; ++round) {
        register_exception<WithData>();
        EXPECT_EQ(through(WithData(round, {})).code, round);
      }
    });
  }
}

// --- bounds ----------------------------------------------------------------------------------------------------------

TEST(Failure, LongTextsAreCut) {
  const std::string text =
      std::string(65535, 'a') + "\xc3\xa4" + std::string(1000, 'b');  // the cut falls into one character
  const auto error = as<RemoteException>(fetched(thrown(std::runtime_error(text))));
  EXPECT_EQ(error.message(), std::string(65535, 'a') + "... (cut)");
  EXPECT_EQ(as<std::runtime_error>(cause(error)).what(), text);
}

TEST(Failure, HugeOriginalsStayBehind) {
  const auto error = as<RemoteException>(fetched(thrown(std::runtime_error(std::string(32U << 20U, 'x')))));
  EXPECT_LT(error.message().size(), 70'000U);
  as<RemoteException>(cause(error));
}

TEST(Failure, HugeCompositesKeepWhatFits) {
  const std::vector<std::exception_ptr> many(100,
                                             std::make_exception_ptr(std::runtime_error(std::string(1U << 18U, 'x'))));
  const auto back = as<CompositeException>(cause(as<RemoteException>(fetched(thrown(CompositeException(many))))));
  ASSERT_GT(back.exceptions().size(), 10U);
  ASSERT_LT(back.exceptions().size(), 100U);
  EXPECT_EQ(as<Error>(back.exceptions().back()).what(),
            std::to_string(101 - back.exceptions().size()) + " more exceptions, which did not fit into the message");
}

TEST(Failure, DeepCompositesKeepTheirTexts) {
  std::exception_ptr exception = std::make_exception_ptr(std::runtime_error("at the bottom"));
  for (int i = 0; i < 100; ++i) exception = std::make_exception_ptr(CompositeException({exception}));
  const auto error = as<RemoteException>(fetched(exception));
  EXPECT_EQ(error.message(), "at the bottom");
  as<CompositeException>(cause(error));
}

TEST(DecodeFailure, RefusesTruncatedBytes) {
  const auto inner = fetched(thrown(std::range_error("far")), 5);
  const std::vector<std::exception_ptr> samples = {
      thrown(42), thrown(std::out_of_range("x")), thrown(TimeoutError("x")),
      thrown(CompositeException({inner, thrown(std::bad_alloc())})), inner};
  for (const std::exception_ptr& sample : samples) {
    const std::vector<std::byte> bytes = encode_failure(sample, 2);
    ASSERT_NO_THROW(decode_failure(bytes));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      // A copy of just that size, so that a sanitizer sees a read behind it.
      const std::vector<std::byte> part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      ASSERT_THROW(decode_failure(part), SerializationError) << size;
    }
    std::vector<std::byte> longer = bytes;
    longer.push_back(std::byte{0});
    EXPECT_THROW(decode_failure(longer), SerializationError);
  }
}

TEST(DecodeFailure, SurvivesAnyByteChanged) {
  const auto inner =
      fetched(thrown(std::filesystem::filesystem_error("f", "/p", std::make_error_code(std::errc::io_error))), 5);
  const LaunchError launch({{.where = "w",
                             .cause = LaunchCause::exited,
                             .exit_status = 1,
                             .signal = {},
                             .output = {},
                             .message = {},
                             .error = inner}},
                           {3});
  const std::vector<std::byte> good =
      encode_failure(std::make_exception_ptr(CompositeException({inner, std::make_exception_ptr(launch)})), 2);
  int refused = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const unsigned flip : {0x01U, 0x80U, 0xffU}) {
      std::vector<std::byte> bytes = good;
      bytes[i] ^= static_cast<std::byte>(flip);
      try {
        std::rethrow_exception(decode_failure(bytes));
      } catch (const SerializationError&) {
        ++refused;
      } catch (const RemoteException& error) {
        EXPECT_NE(cause(error), nullptr);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the byte that says in which form it arrives
      }
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
