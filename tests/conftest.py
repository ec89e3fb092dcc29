import os
import tempfile

# Engines that the user keeps are none of the tests' business.
os.environ["STEREOSR_HOME"] = tempfile.mkdtemp(prefix="stereosr-test-")
