// A module that is larger than messages may be.

#include "support.hpp"

namespace {

using namespace muster;
using namespace muster::test;

TEST(ModulesLimit, OneThatIsTooLargeIsRefusedWithTheLimit) {
  const auto pids = at_least(1);
  const auto first = load_module(MUSTER_PLUGINS "/liblarge.so").function<int()>("first_of_large");
  const auto failure = thrown<RemoteException>([&] { (void)remotecall_fetch(first, pids[0]); });
  ASSERT_TRUE(failure);
  EXPECT_NE(failure->message().find("max_message"), std::string::npos) << failure->message();
  EXPECT_EQ(remotecall_fetch([] { return 3; }, pids[0]), 3);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(argc, argv, {.max_message = 1 << 20});
  return RUN_ALL_TESTS();
}
