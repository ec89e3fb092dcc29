import os
import signal
import tempfile

# Engines that the user keeps are none of the tests' business.
os.environ["STEREOSR_HOME"] = tempfile.mkdtemp(prefix="stereosr-test-")
# A shell starts what it puts in the background with interrupts ignored, and programs inherit that: the tests send some.
signal.signal(signal.SIGINT, signal.default_int_handler)
