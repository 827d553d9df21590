/// @file
/// The main function of end-to-end tests. Workers are processes of the same program: they serve in the Session's
/// constructor and never reach the tests.
#include <muster/session.hpp>

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const muster::Session session(argc, argv);
  return RUN_ALL_TESTS();
}
