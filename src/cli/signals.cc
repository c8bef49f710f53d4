// SPDX-License-Identifier: Apache-2.0
#include "cli/signals.h"

#include <array>
#include <atomic>
#include <csignal>

#include <unistd.h>

#include "base/assert.h"

namespace byre::cli {
namespace {

constexpr std::array<int, 3> kStopping{SIGINT, SIGTERM, SIGHUP};

// A signal handler can only access static objects.
Cancellation g_cancellation;
std::atomic<int> g_received{0};
bool g_is_installed = false;

extern "C" void ask_to_stop(int signal_number) {
  g_received.store(signal_number, std::memory_order_relaxed);
  g_cancellation.request();
}

}  // namespace

InterruptibleScope::InterruptibleScope() {
  BYRE_ASSERT(!g_is_installed);
  g_is_installed = true;
  struct sigaction action{};
  action.sa_handler = ask_to_stop;
  action.sa_flags = SA_RESETHAND;  // the second one kills the process
  for (const int signal_number : kStopping) {
    struct sigaction before{};
    // A signal that the parent has ignored (nohup, a shell's background job) stays ignored.
    sigaction(signal_number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal_number, &action, nullptr);
  }
}

InterruptibleScope::~InterruptibleScope() {
  g_is_installed = false;
  for (const int signal_number : kStopping) {
    struct sigaction now{};
    sigaction(signal_number, nullptr, &now);
    if (now.sa_handler == ask_to_stop) std::signal(signal_number, SIG_DFL);
  }
}

Cancellation& InterruptibleScope::cancellation() {
  return g_cancellation;
}

int received_signal() {
  return g_received.load(std::memory_order_relaxed);
}

void die_from_received_signal() {
  const int signal_number = received_signal();
  if (signal_number == 0) return;
  std::signal(signal_number, SIG_DFL);
  raise(signal_number);
}

}  // namespace byre::cli
