"""What tests share: fakes of the ports, and how to wait for something. No test lives here."""
