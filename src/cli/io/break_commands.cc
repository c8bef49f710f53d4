// SPDX-License-Identifier: Apache-2.0
#include "cli/io/break_commands.h"

#include <cerrno>

#include "byre/error.h"

namespace byre::cli::io {
namespace {

// The interval between checks for a request at a breakpoint.
constexpr std::chrono::milliseconds kLook{1};

[[noreturn]] void refuse(const std::string& what, int error) {
  throw Refusal{what + ": " + errno_text(error)};
}

DebugListener& listener_of(const Session& session, const std::string& what) {
  DebugListener* const listener = session.debug_listener();
  if (listener == nullptr) refuse(what, ENOTSUP);
  return *listener;
}

Task<void> wait_until_suspended(DebugListener& listener, std::string tag) {
  Loop& loop = Loop::current();
  while (!listener.is_suspended(tag)) {
    co_await loop.yield();
    if (listener.is_suspended(tag)) break;
    if (loop.is_idle()) throw Refusal{"No request in flight can reach breakpoint " + tag};
    co_await loop.sleep_for(kLook);
  }
}

// On the loop, as resumed requests are scheduled there.
Task<bool> remove_breakpoint(DebugListener& listener, std::string tag) {
  co_return listener.remove_breakpoint(tag);
}

Task<bool> resume(DebugListener& listener, std::string tag) {
  co_return listener.resume(tag);
}

}  // namespace

void run_break(Session& session, CommandLine& line) {
  constexpr const char* kWhat = "Could not set breakpoint";
  DebugListener& listener = listener_of(session, kWhat);
  const std::optional<DebugEvent> event = parse_debug_event(line.word(1));
  if (!event.has_value()) refuse(kWhat, ENOENT);
  listener.add_breakpoint(*event, line.word(2));
  session.note_breakpoint(line.word(2));
}

void run_remove_break(Session& session, CommandLine& line) {
  const std::string what = "Could not remove breakpoint " + line.word(1);
  DebugListener& listener = listener_of(session, what);
  if (!session.run(remove_breakpoint(listener, line.word(1)))) refuse(what, ENOENT);
}

void run_resume(Session& session, CommandLine& line) {
  constexpr const char* kWhat = "Could not resume request";
  DebugListener& listener = listener_of(session, kWhat);
  if (!session.run(resume(listener, line.word(1)))) refuse(kWhat, ENOENT);
}

void run_wait_break(Session& session, CommandLine& line) {
  DebugListener& listener = listener_of(session, "Could not wait for a request");
  session.run(wait_until_suspended(listener, line.word(1)));
}

}  // namespace byre::cli::io
